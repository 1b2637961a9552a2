//! Questions about what a value was computed from, within a budget of work: a graph may be hostile.

use crate::messages::GraphProto;
use crate::view::{GraphError, Value, View};

/// Whether the numbers of `value` depend on those of `input`, and not on their shape alone; false if
/// `graph` has no such values.
///
/// # Errors
/// If the graph cannot be followed.
pub fn depends_on(graph: &GraphProto, value: &str, input: &str) -> Result<bool, GraphError> {
    let view = View::new(graph)?;
    let (Some(value), Some(input)) = (view.find(value), view.find(input)) else { return Ok(false) };
    let mut depends = vec![false; view.values()];
    depends[input] = true;
    for node in 0..view.nodes().len() {
        let moved = view.moving_inputs(node).any(|value| depends[value]);
        view.outputs(node).for_each(|output| depends[output] = moved && view.is_moving(output));
    }
    Ok(depends[value])
}

/// Values that may be looked at for one graph. A model of a hundred layers takes a million or two.
const WORK: usize = 8_000_000;

/// Walks backwards from values.
pub(crate) struct Reach<'a, 'g> {
    view: &'a View<'g>,
    /// For each value the last walk that saw it.
    seen: Vec<u32>,
    walk: u32,
    work: usize,
}

impl<'a, 'g> Reach<'a, 'g> {
    pub(crate) fn new(view: &'a View<'g>) -> Self {
        Self { view, seen: vec![0; view.values()], walk: 0, work: 0 }
    }

    /// Whether `value` was computed from one of `origins`; `None` if the budget is spent.
    pub(crate) fn depends(&mut self, value: Value, origins: &[Value]) -> Option<bool> {
        // Values are numbered in the order in which they are made.
        let oldest = origins.iter().copied().min()?;
        let mut found = false;
        self.backwards(value, |at| {
            found |= at != value && origins.contains(&at);
            !found && at > oldest
        })?;
        Some(found)
    }

    /// Whether a node with `property` lies between `value` and those for which `stop` says yes; `None`
    /// if the budget is spent.
    pub(crate) fn meets(
        &mut self,
        value: Value,
        stop: impl Fn(Value) -> bool,
        property: fn(&View<'_>, usize) -> bool,
    ) -> Option<bool> {
        let (view, mut found) = (self.view, false);
        self.backwards(value, |at| {
            if !found && !stop(at) {
                found = view.maker(at).is_some_and(|(node, _)| property(view, node));
                return !found;
            }
            false
        })?;
        Some(found)
    }

    /// Looks at `value` and at what it was computed from, but at nothing behind a value for which
    /// `look` says no.
    fn backwards(&mut self, value: Value, mut look: impl FnMut(Value) -> bool) -> Option<()> {
        self.walk += 1;
        let mut open = vec![value];
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut self.seen[at], self.walk) == self.walk {
                continue;
            }
            self.work += 1;
            if self.work > WORK {
                return None;
            }
            if look(at)
                && let Some((node, _)) = self.view.maker(at)
            {
                open.extend(self.view.moving_inputs(node));
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{INT64, NodeProto, ValueInfoProto};

    #[test]
    fn numbers_are_followed_and_shapes_are_not() {
        let input = |name| ValueInfoProto::tensor(name, INT64, &[]);
        let graph = GraphProto {
            input: vec![input("ids"), input("mask")],
            node: vec![
                NodeProto::new("Cast", &["mask"], &["bias"]),
                NodeProto::new("Shape", &["mask"], &["shape"]),
                NodeProto::new("Reshape", &["ids", "shape"], &["plain"]),
                NodeProto::new("Add", &["plain", "bias"], &["masked"]),
            ],
            ..GraphProto::default()
        };
        let depends = |value, input| depends_on(&graph, value, input).unwrap();
        assert!(depends("masked", "mask") && depends("masked", "ids"));
        assert!(depends("mask", "mask") && depends("plain", "ids"));
        assert!(!depends("plain", "mask") && !depends("shape", "mask"));
        assert!(!depends("bias", "ids") && !depends("masked", "nobody"));
    }
}
