//! What a graph's outputs need.

use std::collections::HashSet;

use super::{GraphProto, NodeProto};

impl GraphProto {
    /// Drops the nodes, weights and inputs that no output depends on. Nodes must be in topological
    /// order.
    pub fn prune(&mut self) {
        let mut needed: HashSet<String> =
            self.output.iter().map(|output| output.name.clone()).collect();
        let mut kept = Vec::new();
        // From the end, whoever needs a node comes before it.
        for node in self.node.drain(..).rev() {
            if node.output.iter().any(|output| needed.contains(output)) {
                take(&node, &mut needed);
                kept.push(node);
            }
        }
        kept.reverse();
        self.node = kept;
        self.input.retain(|input| needed.contains(&input.name));
        self.initializer.retain(|tensor| needed.contains(&tensor.name));
        self.sparse_initializer.retain(|sparse| {
            sparse.values.as_ref().is_some_and(|tensor| needed.contains(&tensor.name))
        });
        self.quantization_annotation.retain(|annotation| needed.contains(&annotation.tensor_name));
    }
}

/// Adds all that `node` takes to `needed`: its branches and loops may take values from outside.
fn take(node: &NodeProto, needed: &mut HashSet<String>) {
    needed.extend(node.input.iter().cloned());
    for graph in node.subgraphs() {
        needed.extend(graph.output.iter().map(|output| output.name.clone()));
        graph.node.iter().for_each(|node| take(node, needed));
    }
}
