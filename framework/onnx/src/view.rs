//! A graph as who makes and who takes each value.

use std::collections::HashMap;

use thiserror::Error;

use crate::messages::{GraphProto, NodeProto, TensorProto, ValueInfoProto};

/// Why a graph cannot be followed.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum GraphError {
    /// The model has none.
    #[error("the model has no graph")]
    Missing,
    /// A node takes a value that nobody has made yet.
    #[error(
        "node {node} ({op_type}) takes {value:?}, which no earlier node makes; nodes must be in \
         topological order"
    )]
    Unmade {
        /// Which node, counted from 0.
        node: usize,
        /// Its operator.
        op_type: String,
        /// The value.
        value: String,
    },
    /// Two weights have one name.
    #[error("two weights are called {name:?}")]
    Twice {
        /// The name.
        name: String,
    },
    /// Two nodes make one value.
    #[error("node {node} ({op_type}) makes {value:?} once more")]
    Remade {
        /// The second node, counted from 0.
        node: usize,
        /// Its operator.
        op_type: String,
        /// The value.
        value: String,
    },
}

/// A value, by its place in [`View::names`].
pub(crate) type Value = usize;

/// Who makes and who takes each value of a graph. Nodes are in topological order and every value is
/// made once.
pub(crate) struct View<'g> {
    pub(crate) graph: &'g GraphProto,
    names: Vec<&'g str>,
    ids: HashMap<&'g str, Value>,
    maker: Vec<Option<(usize, usize)>>,
    inputs: Vec<Vec<Option<Value>>>,
    outputs: Vec<Vec<Option<Value>>>,
    /// Whether a value depends on what a run is given, other than by the shape of it.
    moving: Vec<bool>,
    tensors: HashMap<Value, &'g TensorProto>,
    types: HashMap<&'g str, &'g ValueInfoProto>,
}

impl<'g> View<'g> {
    pub(crate) fn new(graph: &'g GraphProto) -> Result<Self, GraphError> {
        let types = graph.value_info.iter().chain(&graph.output).chain(&graph.input);
        let mut view = Self {
            graph,
            names: Vec::new(),
            ids: HashMap::new(),
            maker: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            moving: Vec::new(),
            tensors: HashMap::new(),
            types: types.map(|value| (&*value.name, value)).collect(),
        };
        for tensor in &graph.initializer {
            if view.ids.contains_key(&*tensor.name) {
                return Err(GraphError::Twice { name: tensor.name.clone() });
            }
            let value = view.value(&tensor.name, None, false);
            view.tensors.insert(value, tensor);
        }
        for tensor in graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref()) {
            view.value(&tensor.name, None, false);
        }
        for input in &graph.input {
            // Old models list their weights among the inputs too.
            if !view.ids.contains_key(&*input.name) {
                view.value(&input.name, None, true);
            }
        }
        for (index, node) in graph.node.iter().enumerate() {
            view.add(index, node)?;
        }
        Ok(view)
    }

    fn value(&mut self, name: &'g str, maker: Option<(usize, usize)>, moving: bool) -> Value {
        let value = self.names.len();
        self.names.push(name);
        self.ids.insert(name, value);
        self.maker.push(maker);
        self.moving.push(moving);
        value
    }

    fn add(&mut self, index: usize, node: &'g NodeProto) -> Result<(), GraphError> {
        let mut inputs = Vec::with_capacity(node.input.len());
        for name in &node.input {
            let known = self.ids.get(&**name).copied();
            if known.is_none() && !name.is_empty() {
                let (op_type, value) = (node.op_type.clone(), name.clone());
                return Err(GraphError::Unmade { node: index, op_type, value });
            }
            inputs.push(known);
        }
        // What branches and loops take from here.
        let mut captured = Vec::new();
        node.subgraphs().for_each(|graph| names_in(graph, &mut captured));
        inputs.extend(
            captured.into_iter().filter_map(|name| self.ids.get(name)).map(|&value| Some(value)),
        );

        let by_shape = matches!(&*node.op_type, "Shape" | "Size");
        let moving = !by_shape && inputs.iter().flatten().any(|&value| self.moving[value]);
        let mut outputs = Vec::with_capacity(node.output.len());
        for (slot, name) in node.output.iter().enumerate() {
            if self.ids.contains_key(&**name) {
                let (op_type, value) = (node.op_type.clone(), name.clone());
                return Err(GraphError::Remade { node: index, op_type, value });
            }
            outputs.push((!name.is_empty()).then(|| self.value(name, Some((index, slot)), moving)));
        }
        self.inputs.push(inputs);
        self.outputs.push(outputs);
        Ok(())
    }

    pub(crate) fn nodes(&self) -> &'g [NodeProto] {
        &self.graph.node
    }

    pub(crate) fn name(&self, value: Value) -> &'g str {
        self.names[value]
    }

    pub(crate) fn find(&self, name: &str) -> Option<Value> {
        self.ids.get(name).copied()
    }

    pub(crate) fn values(&self) -> usize {
        self.names.len()
    }

    /// The node that makes `value` and which of its outputs it is; `None` for inputs and weights.
    pub(crate) fn maker(&self, value: Value) -> Option<(usize, usize)> {
        self.maker[value]
    }

    /// What `node` takes, `None` for inputs that it goes without.
    pub(crate) fn inputs(&self, node: usize) -> &[Option<Value>] {
        &self.inputs[node]
    }

    pub(crate) fn input(&self, node: usize, slot: usize) -> Option<Value> {
        self.inputs[node].get(slot).copied().flatten()
    }

    pub(crate) fn output(&self, node: usize, slot: usize) -> Option<Value> {
        self.outputs[node].get(slot).copied().flatten()
    }

    pub(crate) fn outputs(&self, node: usize) -> impl Iterator<Item = Value> + '_ {
        self.outputs[node].iter().flatten().copied()
    }

    pub(crate) fn is_moving(&self, value: Value) -> bool {
        self.moving[value]
    }

    /// The inputs of `node` that depend on what a run is given.
    pub(crate) fn moving_inputs(&self, node: usize) -> impl Iterator<Item = Value> + '_ {
        self.inputs(node).iter().flatten().copied().filter(|&value| self.moving[value])
    }

    pub(crate) fn tensor(&self, value: Value) -> Option<&'g TensorProto> {
        self.tensors.get(&value).copied()
    }

    /// What the file says of the type of `value`.
    pub(crate) fn declared(&self, value: Value) -> Option<&'g ValueInfoProto> {
        self.types.get(self.names[value]).copied()
    }
}

/// Every name that nodes within `graph` take or that it puts out.
fn names_in<'g>(graph: &'g GraphProto, names: &mut Vec<&'g str>) {
    names.extend(graph.output.iter().map(|output| &*output.name));
    for node in &graph.node {
        names.extend(node.input.iter().map(|name| &**name));
        node.subgraphs().for_each(|graph| names_in(graph, names));
    }
}
