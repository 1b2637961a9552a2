//! The residual stream in a graph that somebody else exported.
//!
//! In every transformer the hidden state is a running sum (He et al. 2016, Vaswani et al. 2017):
//! each attention and each feed-forward part adds its result to what it was computed from. In a
//! graph, that is a node
//!
//! ```text
//! sum = Add(skip, branch)          where branch was computed from skip
//! ```
//!
//! and the next such node's `skip` is this one's `sum`, or a norm of it if norms stand behind the
//! sums. Chains of such sums are followed through the graph; the longest is the residual stream. (An
//! approximated GELU, x + 0.04 x³, is such a sum too, but the next one does not start from it.) A
//! branch that multiplies activations by activations is attention: a layer starts where its sum's
//! `skip` is, and that value is the tap.
//!
//! ```text
//! norms before:  tap.i -> norm -> attention -> Add(tap.i) = m -> norm -> feed-forward -> Add(m) = tap.i+1
//! norms behind:  tap.i -> attention -> Add(tap.i) -> norm = m -> feed-forward -> Add(m) -> norm = tap.i+1
//! ```
//!
//! ONNX Runtime's optimizer fuses a sum and the norm behind it into one node (`SkipLayerNormalization`,
//! `SkipSimplifiedLayerNormalization`) that puts out the norm first and the sum fourth.

use std::collections::BTreeSet;

use crate::reach::Reach;
use crate::view::{Value, View};

/// Operators that a norm may be made of.
const LONGEST_NORM: usize = 32;

/// Where a tap is: an output of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapPoint {
    /// The node, counted from 0.
    pub node: usize,
    /// Which of its outputs. The last tap may be an optional output that the node does not have yet.
    pub output: usize,
}

/// Why the residual stream was not found for certain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Uncertain {
    /// No sum adds to what it was computed from, with attention in between.
    None,
    /// Several chains are equally long.
    Several,
    /// Layers differ in their number of sums.
    Uneven,
    /// It is not clear whether a norm behind the last sum belongs to it.
    End,
    /// The graph is too entangled to be searched.
    Work,
}

/// A node that adds two values, and what is known of it.
#[derive(Debug, Clone, Copy)]
struct Sum {
    node: usize,
    /// The value that the other was computed from.
    skip: Value,
    /// Whether there is attention between the two.
    attends: bool,
    /// The sum whose result, or a norm of it, `skip` is; if that is residual too.
    before: Option<usize>,
    /// Residual sums up to this one.
    length: usize,
    /// Those of them with attention.
    layers: usize,
}

/// Finds the residual stream of `graph`: the taps, the embedding's first.
pub(crate) fn search(view: &View<'_>) -> Result<Vec<TapPoint>, Uncertain> {
    let anchors = anchors(view);
    let mut search =
        Search { view, anchors, sums: vec![None; view.nodes().len()], reach: Reach::new(view) };
    let chain = search.chain()?;
    let starts = layers(&chain)?;
    let mut taps = Vec::new();
    for &start in &starts {
        taps.push(search.point(chain[start].skip)?);
    }
    taps.push(search.end(&chain, &starts)?);
    Ok(taps)
}

/// The two values that `node` adds, if it adds two that depend on what a run is given.
fn operands(view: &View<'_>, node: usize) -> Option<(Value, Value)> {
    match &*view.nodes()[node].op_type {
        "Add" | "Sum" if view.inputs(node).len() == 2 => {}
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => {}
        _ => return None,
    }
    let (a, b) = (view.input(node, 0)?, view.input(node, 1)?);
    (view.is_moving(a) && view.is_moving(b)).then_some((a, b))
}

/// The output that is the sum, not a norm of it.
fn sum_output(view: &View<'_>, node: usize) -> usize {
    if view.nodes()[node].op_type.starts_with("Skip") { 3 } else { 0 }
}

/// Operators that norms are made of, and those that leave a value as it is.
fn is_part_of_norm(op_type: &str) -> bool {
    matches!(
        op_type,
        "LayerNormalization"
            | "SimplifiedLayerNormalization"
            | "RMSNormalization"
            | "ReduceMean"
            | "ReduceSum"
            | "Sub"
            | "Pow"
            | "Add"
            | "Mul"
            | "Div"
            | "Sqrt"
            | "Reciprocal"
            | "Cast"
            | "Identity"
            | "Dropout"
    )
}

/// For each value, the node of the sum that it is the result of, or a norm of the result.
fn anchors(view: &View<'_>) -> Vec<Option<usize>> {
    let mut anchors = vec![None; view.values()];
    for (index, node) in view.nodes().iter().enumerate() {
        let anchor = if operands(view, index).is_some() {
            Some(index)
        } else if is_part_of_norm(&node.op_type) {
            let mut all = view.moving_inputs(index).map(|value| anchors[value]);
            let first = all.next().flatten();
            first.filter(|_| all.all(|other| other == first))
        } else {
            None
        };
        for output in view.outputs(index) {
            anchors[output] = anchor;
        }
    }
    anchors
}

/// Whether `node` multiplies activations by activations, as attention does.
fn is_attention(view: &View<'_>, node: usize) -> bool {
    let op_type = &*view.nodes()[node].op_type;
    let (a, b) = match op_type {
        "MatMul"
        | "FusedMatMul"
        | "TransposeMatMul"
        | "Einsum"
        | "MatMulInteger"
        | "MatMulIntegerToFloat" => (0, 1),
        "QLinearMatMul" => (0, 3),
        _ => return op_type.contains("Attention"),
    };
    let moving = |slot| view.input(node, slot).is_some_and(|value| view.is_moving(value));
    moving(a) && moving(b)
}

/// Which sums of `chain` start a layer.
fn layers(chain: &[Sum]) -> Result<Vec<usize>, Uncertain> {
    let starts: Vec<usize> = (0..chain.len()).filter(|&sum| chain[sum].attends).collect();
    let first = *starts.first().ok_or(Uncertain::None)?;
    let each = (chain.len() - first) / starts.len();
    let even = starts.iter().enumerate().all(|(layer, &start)| start == first + layer * each);
    match even && first + starts.len() * each == chain.len() {
        true => Ok(starts),
        false => Err(Uncertain::Uneven),
    }
}

struct Search<'a, 'g> {
    view: &'a View<'g>,
    anchors: Vec<Option<usize>>,
    /// By node.
    sums: Vec<Option<Sum>>,
    reach: Reach<'a, 'g>,
}

impl Search<'_, '_> {
    /// The longest chain of sums with attention among them.
    fn chain(&mut self) -> Result<Vec<Sum>, Uncertain> {
        for node in 0..self.view.nodes().len() {
            if let Some((a, b)) = operands(self.view, node) {
                self.sums[node] = match self.residual(node, a, b)? {
                    None => self.residual(node, b, a)?,
                    found => found,
                };
            }
        }
        let attending = || self.sums.iter().flatten().filter(|sum| sum.layers > 0);
        let longest = attending().map(|sum| sum.length).max().ok_or(Uncertain::None)?;
        let mut ends = attending().filter(|sum| sum.length == longest);
        let mut next = match (ends.next(), ends.next()) {
            (Some(end), None) => Some(*end),
            _ => return Err(Uncertain::Several),
        };
        let mut chain = Vec::new();
        while let Some(sum) = next {
            chain.push(sum);
            next = sum.before.and_then(|before| self.sums[before]);
        }
        chain.reverse();
        Ok(chain)
    }

    /// `node` as a sum of `skip` and what was computed from it.
    fn residual(
        &mut self,
        node: usize,
        skip: Value,
        branch: Value,
    ) -> Result<Option<Sum>, Uncertain> {
        let before = self.anchors[skip].and_then(|before| self.sums[before]);
        // Where attention and feed-forward part stand side by side, the second sum's branch starts
        // from where the first one's does.
        let origins = [skip, before.map_or(skip, |before| before.skip)];
        if !self.reach.depends(branch, &origins).ok_or(Uncertain::Work)? {
            return Ok(None);
        }
        let (anchors, sums) = (&self.anchors, &self.sums);
        let in_stream = |value| {
            origins.contains(&value) || anchors[value].is_some_and(|node| sums[node].is_some())
        };
        let attends = self.reach.meets(branch, in_stream, is_attention).ok_or(Uncertain::Work)?;
        Ok(Some(Sum {
            node,
            skip,
            attends,
            before: before.map(|before| before.node),
            length: 1 + before.map_or(0, |before| before.length),
            layers: usize::from(attends) + before.map_or(0, |before| before.layers),
        }))
    }

    fn point(&self, value: Value) -> Result<TapPoint, Uncertain> {
        let (node, output) = self.view.maker(value).ok_or(Uncertain::None)?;
        Ok(TapPoint { node, output })
    }

    /// The last tap: the last sum, or the norm of it that is made as that at the end of the layer
    /// before is, or where there is no layer before, that between the two sums of a layer.
    fn end(&self, chain: &[Sum], starts: &[usize]) -> Result<TapPoint, Uncertain> {
        let last = chain.last().ok_or(Uncertain::None)?.node;
        let model = match (starts, chain) {
            ([_, .., start], _) => chain[*start],
            (_, [.., sum]) if sum.before.is_some() => *sum,
            _ => return Err(Uncertain::End),
        };
        let wanted = self.way(model.skip);
        if wanted.is_empty() {
            return Ok(TapPoint { node: last, output: sum_output(self.view, last) });
        }
        // The end of a norm is its only result; parts of it may look alike.
        let anchored = |value: &Value| self.anchors[*value] == Some(last);
        let mut found =
            (0..self.view.values()).filter(anchored).filter(|&value| self.way(value) == wanted);
        match (found.next(), found.next()) {
            (Some(value), None) => self.point(value),
            _ => Err(Uncertain::End),
        }
    }

    /// The operators between a sum and `value`, which is a norm of it, in the order of the graph;
    /// none if it is the sum.
    fn way(&self, value: Value) -> Vec<&str> {
        let Some(anchor) = self.anchors[value] else { return Vec::new() };
        let mut nodes = BTreeSet::new();
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            // What is longer is no norm, and equal to no norm's way.
            if nodes.len() > LONGEST_NORM {
                break;
            }
            let Some((node, output)) = self.view.maker(value) else { continue };
            if node == anchor {
                if output != sum_output(self.view, node) {
                    nodes.insert(node);
                }
            } else if nodes.insert(node) {
                open.extend(self.view.moving_inputs(node));
            }
        }
        nodes.into_iter().map(|node| &*self.view.nodes()[node].op_type).collect()
    }
}
