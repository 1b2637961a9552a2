//! Makes a foreign graph one of a bundle: its taps, inputs and outputs get their names there.

use std::collections::{HashMap, HashSet};

use crate::inputs::{Input, Role};
use crate::messages::{
    AttributeProto, Axis, FLOAT, GraphProto, INT64, NodeProto, TensorProto, ValueInfoProto,
};
use crate::stream::TapPoint;

/// Prefix of the names of what is added, and of values whose own names a bundle uses otherwise.
const PREFIX: &str = "mobillm.";

/// The output that answers for a whole text.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// Its name in the foreign graph.
    pub from: &'a str,
    /// Its name in the bundle.
    pub to: &'a str,
    /// Its outputs.
    pub outputs: usize,
}

/// Rewrites `graph`: the values at `taps` become `tap.0` and so on, [batch, tokens, hidden], the last
/// of them an output; `inputs` are called as [`Role::name`] says and are int64, positions are counted
/// in the graph from [`Input::first`], caches are empty; `own` is a second output. What no output needs is dropped.
///
/// `taps` and `inputs` are those that [`taps`](crate::taps) and [`inputs`](crate::inputs()) found;
/// [`check_opset`](crate::check_opset) says whether the graph's operators suffice for it.
pub fn rewrite(
    graph: &mut GraphProto,
    taps: &[TapPoint],
    inputs: &[Input],
    hidden: usize,
    own: Option<Own<'_>>,
) {
    let mut names = Names::new(graph);
    for (layer, tap) in taps.iter().enumerate() {
        let output = &mut graph.node[tap.node].output;
        if output.len() <= tap.output {
            output.resize(tap.output + 1, String::new());
        }
        // An optional output that nobody took so far.
        if output[tap.output].is_empty() {
            output[tap.output] = names.fresh(&format!("tap.{layer}"));
        }
        names.rename(&output[tap.output], &format!("tap.{layer}"));
    }
    if let Some(own) = own {
        names.rename(own.from, own.to);
    }
    let mut added = Added::default();
    for input in inputs {
        added.input(input, &mut names);
    }
    names.apply(graph);
    added.nodes.append(&mut graph.node);
    graph.node = added.nodes;
    graph.initializer.append(&mut added.constants);
    let sequence = [Axis::Named("batch"), Axis::Named("tokens")];
    let given = inputs.iter().filter(|input| !matches!(input.role, Role::Positions | Role::Cache));
    graph.input =
        given.map(|input| ValueInfoProto::tensor(input.role.name(), INT64, &sequence)).collect();
    let [batch, tokens] = sequence;
    let last = format!("tap.{}", taps.len().saturating_sub(1));
    graph.output =
        vec![ValueInfoProto::tensor(&last, FLOAT, &[batch, tokens, Axis::Fixed(hidden)])];
    if let Some(own) = own {
        let axes = [batch, Axis::Fixed(own.outputs)];
        graph.output.push(ValueInfoProto::tensor(own.to, FLOAT, &axes));
    }
    // Whoever runs the graph infers them again.
    graph.value_info.clear();
    graph.prune();
}

/// New names for values.
struct Names {
    taken: HashSet<String>,
    renamed: HashMap<String, String>,
}

impl Names {
    fn new(graph: &GraphProto) -> Self {
        let mut taken = HashSet::new();
        collect(graph, &mut taken);
        let mut names = Self { taken, renamed: HashMap::new() };
        let reserved: Vec<String> =
            names.taken.iter().filter(|name| is_reserved(name)).cloned().collect();
        for name in reserved {
            let fresh = names.fresh(&name);
            names.renamed.insert(name, fresh);
        }
        names
    }

    /// A name like `name` that no value has.
    fn fresh(&mut self, name: &str) -> String {
        let mut fresh = format!("{PREFIX}{name}");
        while !self.taken.insert(fresh.clone()) {
            fresh.push('_');
        }
        fresh
    }

    fn rename(&mut self, from: &str, to: &str) {
        self.renamed.insert(from.to_owned(), to.to_owned());
    }

    fn apply(&self, graph: &mut GraphProto) {
        let tensors = graph.initializer.iter_mut().map(|tensor| &mut tensor.name);
        let sparse =
            graph.sparse_initializer.iter_mut().filter_map(|sparse| sparse.values.as_mut());
        let values = graph.input.iter_mut().chain(&mut graph.output).map(|value| &mut value.name);
        let annotated = graph.quantization_annotation.iter_mut().flat_map(|annotation| {
            let tensors =
                annotation.quant_parameter_tensor_names.iter_mut().map(|entry| &mut entry.value);
            tensors.chain([&mut annotation.tensor_name])
        });
        for name in
            tensors.chain(sparse.map(|tensor| &mut tensor.name)).chain(values).chain(annotated)
        {
            self.replace(name);
        }
        for node in &mut graph.node {
            node.input.iter_mut().chain(&mut node.output).for_each(|name| self.replace(name));
            for attribute in &mut node.attribute {
                let graphs = attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs);
                graphs.for_each(|graph| self.apply(graph));
            }
        }
    }

    fn replace(&self, name: &mut String) {
        if let Some(new) = self.renamed.get(name) {
            name.clone_from(new);
        }
    }
}

/// Names that bundles and engines give to values of their own.
fn is_reserved(name: &str) -> bool {
    let starts = ["tap.", "tapped.", "own_"].iter().any(|prefix| name.starts_with(prefix));
    starts || matches!(name, "input_ids" | "attention_mask" | "token_type_ids" | "last_tokens")
}

fn collect(graph: &GraphProto, names: &mut HashSet<String>) {
    names.extend(graph.initializer.iter().map(|tensor| tensor.name.clone()));
    names.extend(graph.input.iter().chain(&graph.output).map(|value| value.name.clone()));
    for node in &graph.node {
        names.extend(node.input.iter().chain(&node.output).cloned());
        node.subgraphs().for_each(|graph| collect(graph, names));
    }
}

/// What stands before the foreign nodes.
#[derive(Default)]
struct Added {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl Added {
    fn input(&mut self, input: &Input, names: &mut Names) {
        let value = match input.role {
            Role::Cache => return self.empty_cache(input, names),
            Role::Positions => self.positions(input.first, names),
            role => role.name().to_owned(),
        };
        if input.elem_type == INT64 {
            names.rename(&input.name, &value);
        } else {
            let cast = names.fresh(&format!("{}.cast", input.role.name()));
            let mut node = NodeProto::new("Cast", &[&value], &[&cast]);
            node.attribute.push(AttributeProto::int("to", input.elem_type.into()));
            self.nodes.push(node);
            names.rename(&input.name, &cast);
        }
    }

    /// Keys or values of no earlier tokens.
    fn empty_cache(&mut self, input: &Input, names: &mut Names) {
        let [first, rest, tokens, batch, shape, empty] =
            ["first", "rest", "tokens", "batch", "shape", "empty"]
                .map(|name| names.fresh(&format!("{}.{name}", input.name)));
        let dims: Vec<i64> = input.dims.iter().skip(1).map(|dim| dim.unwrap_or(0)).collect();
        self.constants.push(TensorProto::int64(&first, &[1], &[0]));
        self.constants.push(TensorProto::int64(&rest, &[dims.len() as i64], &dims));
        let zero = TensorProto {
            dims: vec![1],
            data_type: input.elem_type,
            raw_data: vec![0; if input.elem_type == FLOAT { 4 } else { 2 }].into(),
            ..TensorProto::default()
        };
        let along = AttributeProto::int("axis", 0);
        let value = AttributeProto::tensor("value", zero);
        self.nodes.extend([
            NodeProto::new("Shape", &[Role::Ids.name()], &[&tokens]),
            NodeProto::new("Gather", &[&tokens, &first], &[&batch]),
            NodeProto {
                attribute: vec![along],
                ..NodeProto::new("Concat", &[&batch, &rest], &[&shape])
            },
            NodeProto {
                attribute: vec![value],
                ..NodeProto::new("ConstantOfShape", &[&shape], &[&empty])
            },
        ]);
        names.rename(&input.name, &empty);
    }

    /// `first`, `first + 1` and so on for every text, `[batch, tokens]`.
    fn positions(&mut self, first: i64, names: &mut Names) -> String {
        let [start, one, shape, tokens, end, row, rows] =
            ["start", "one", "shape", "tokens", "end", "row", "rows"]
                .map(|name| names.fresh(&format!("positions.{name}")));
        self.constants.push(TensorProto::int64(&start, &[], &[first]));
        self.constants.push(TensorProto::int64(&one, &[], &[1]));
        self.nodes.extend([
            NodeProto::new("Shape", &[Role::Ids.name()], &[&shape]),
            NodeProto::new("Gather", &[&shape, &one], &[&tokens]),
            NodeProto::new("Add", &[&start, &tokens], &[&end]),
            NodeProto::new("Range", &[&start, &end, &one], &[&row]),
            NodeProto::new("Expand", &[&row, &shape], &[&rows]),
        ]);
        rows
    }
}
