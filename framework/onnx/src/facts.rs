//! What a graph says of the model's dimensions.

use crate::messages::{GraphProto, TensorProto};
use crate::stream::TapPoint;
use crate::view::{GraphError, Value, View};

/// Dimensions, as far as the graph has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dimensions {
    /// Width of a hidden state.
    pub hidden: Option<usize>,
    /// Tokens that the model embeds.
    pub vocabulary: Option<usize>,
    /// Segments that it tells apart.
    pub segments: Option<usize>,
}

/// The dimensions of the model in `graph` with the taps `taps`, whose inputs `ids` and `segments` are
/// token and segment ids.
///
/// # Errors
/// If the graph cannot be followed.
pub fn dimensions(
    graph: &GraphProto,
    taps: &[TapPoint],
    ids: &str,
    segments: Option<&str>,
) -> Result<Dimensions, GraphError> {
    let view = View::new(graph)?;
    let rows = |input: &str, slot| {
        let table = table(&view, view.find(input)?, slot)?;
        usize::try_from(*table.dims.first()?).ok()
    };
    Ok(Dimensions {
        hidden: taps.iter().find_map(|tap| hidden(&view, *tap)),
        vocabulary: rows(ids, EMBEDDED[0]),
        segments: segments.and_then(|segments| rows(segments, EMBEDDED[1])),
    })
}

/// Index of the ids and of their table among the inputs of `EmbedLayerNormalization`.
const EMBEDDED: [(usize, usize); 2] = [(0, 2), (1, 4)];

/// The table whose rows `ids` choose.
fn table<'g>(view: &View<'g>, ids: Value, fused: (usize, usize)) -> Option<&'g TensorProto> {
    let mut same = vec![false; view.values()];
    same[ids] = true;
    for (index, node) in view.nodes().iter().enumerate() {
        let takes = |slot| view.input(index, slot).is_some_and(|value| same[value]);
        let data = match &*node.op_type {
            "Cast" | "Identity" | "Reshape" | "Squeeze" | "Unsqueeze" if takes(0) => {
                view.outputs(index).for_each(|output| same[output] = true);
                None
            }
            "Gather" | "GatherBlockQuantized" if takes(1) => view.input(index, 0),
            "EmbedLayerNormalization" if takes(fused.0) => view.input(index, fused.1),
            _ => None,
        };
        if let Some(tensor) = data.and_then(|data| weight(view, data)) {
            return Some(tensor);
        }
    }
    None
}

/// The matrix that `value` is, or is made of by what undoes quantization.
fn weight<'g>(view: &View<'g>, mut value: Value) -> Option<&'g TensorProto> {
    loop {
        if let Some(tensor) = view.tensor(value) {
            return (tensor.dims.len() >= 2).then_some(tensor);
        }
        let (node, _) = view.maker(value)?;
        match &*view.nodes()[node].op_type {
            "Cast" | "Identity" | "DequantizeLinear" | "Mul" | "Sub" => {
                value = view.input(node, 0)?
            }
            _ => return None,
        }
    }
}

/// The last dimension of a tap: what the file says of it, or the length of the norm that makes or
/// takes it.
fn hidden(view: &View<'_>, tap: TapPoint) -> Option<usize> {
    let value = view.output(tap.node, tap.output);
    let declared = value.and_then(|value| view.declared(value)?.dims()?.last().copied().flatten());
    let users = (0..view.nodes().len())
        .filter(|&node| value.is_some_and(|value| view.input(node, 0) == Some(value)));
    let length = |node: usize| {
        let slot = match &*view.nodes()[node].op_type {
            "LayerNormalization" | "SimplifiedLayerNormalization" | "RMSNormalization" => 1,
            "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => 2,
            "EmbedLayerNormalization" => 5,
            _ => return None,
        };
        view.tensor(view.input(node, slot)?)?.dims.last().copied()
    };
    let size = declared.or_else(|| std::iter::once(tap.node).chain(users).find_map(length));
    size.or_else(|| {
        // The embedding itself is the first tap of many decoders.
        let embeds = &*view.nodes()[tap.node].op_type == "Gather" && tap.output == 0;
        weight(view, view.input(tap.node, 0).filter(|_| embeds)?)?.dims.last().copied()
    })
    .and_then(|size| usize::try_from(size).ok())
}
