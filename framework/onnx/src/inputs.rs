//! What the inputs of a foreign graph are.

use thiserror::Error;

use crate::messages::{
    BOOL, DOUBLE, FLOAT, FLOAT16, GraphProto, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32,
    UINT64, ValueInfoProto,
};

/// Element types that the int64 inputs of a bundle can be cast to.
const NUMBERS: [i32; 12] =
    [FLOAT, UINT8, INT8, UINT16, INT16, INT32, INT64, BOOL, FLOAT16, DOUBLE, UINT32, UINT64];

/// What an input of a graph is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Token ids, `[batch, tokens]`.
    Ids,
    /// 1 for tokens and 0 for padding, `[batch, tokens]`.
    Mask,
    /// To which text of a pair a token belongs, `[batch, tokens]`.
    Segments,
    /// Where in the text a token stands, `[batch, tokens]` or `[1, tokens]`.
    Positions,
    /// Keys or values of earlier tokens, of which a bundle's graph has none.
    Cache,
}

impl Role {
    /// What the input is called in a bundle. Positions are not asked for, they are computed; nor is a
    /// cache, which is empty.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ids => "input_ids",
            Self::Mask => "attention_mask",
            Self::Segments => "token_type_ids",
            Self::Positions => "position_ids",
            Self::Cache => "past_key_values",
        }
    }

    /// What exporters call the input.
    fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Ids => &["input_ids", "input_word_ids", "ids", "tokens", "input"],
            Self::Mask => &["attention_mask", "input_mask", "mask"],
            Self::Segments => &["token_type_ids", "segment_ids", "input_type_ids"],
            Self::Positions => &["position_ids", "positions"],
            Self::Cache => &[],
        }
    }
}

/// An input of a foreign graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name there.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its element type there.
    pub elem_type: i32,
    /// Its dimensions there, if they are known; `None` for those that only a run tells.
    pub dims: Vec<Option<i64>>,
    /// Of positions: that of a text's first token. The graph does not tell; [`inputs`] says 0.
    pub first: i64,
}

impl Input {
    /// The operator that makes of a bundle's inputs what the graph takes here, and the version of
    /// ONNX's operators since which it is as it is used.
    fn made_by(&self) -> Option<(&'static str, i64)> {
        match (self.role, self.elem_type) {
            (Role::Positions, _) => Some(("Range", 11)),
            (Role::Cache, _) => Some(("ConstantOfShape", 9)),
            (_, INT64) => None,
            _ => Some(("Cast", 6)),
        }
    }
}

/// Why a graph cannot be run on tokens.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputError {
    /// Nobody knows what to put in.
    #[error(
        "nobody knows what the input {name:?} is; expected input_ids and perhaps \
         attention_mask, token_type_ids, position_ids and past_key_values"
    )]
    Unknown {
        /// The input.
        name: String,
    },
    /// The graph goes on from the keys and values of an earlier run, and cannot go without.
    #[error(
        "the input {name:?} is a cache of earlier tokens, and not of a shape that can be empty; \
         export the model without one (`use_cache=False`; with optimum: `--task \
         text-generation`)"
    )]
    Cache {
        /// The input.
        name: String,
    },
    /// An input does not fit batches of any size.
    #[error(
        "the input {name:?} has the shape {shape}; expected [batch, tokens] with both known at \
         run time only: export it with dynamic axes"
    )]
    Shape {
        /// The input.
        name: String,
        /// Its shape.
        shape: String,
    },
    /// An input holds something else than numbers, or nobody says what.
    #[error(
        "the input {name:?} has the element type {elem_type}, expected a tensor of numbers (such as \
         7, int64); export it with a type"
    )]
    Type {
        /// The input.
        name: String,
        /// Its `TensorProto.DataType`; 0 if there is none.
        elem_type: i32,
    },
    /// What an input is computed with is not in the graph's operator set.
    #[error(
        "the graph speaks version {opset} of ONNX's operators, but its input {name:?} is made by \
         {operator}, which there is since version {since}; export it with `opset_version` {since} or \
         more"
    )]
    Opset {
        /// The input.
        name: String,
        /// The graph's version.
        opset: i64,
        /// The operator.
        operator: &'static str,
        /// The operator's first version.
        since: i64,
    },
    /// There is none for token ids, or two inputs for one thing.
    #[error("the graph has {got} inputs that could be {}, expected one", role.name())]
    Count {
        /// What they would be.
        role: Role,
        /// How many there are.
        got: usize,
    },
}

/// The inputs of `graph`, but for those that are weights.
///
/// # Errors
/// If one is not known, is a cache that cannot be empty, does not hold numbers, or is not of the shape
/// `[batch, tokens]`, or if there are no token ids.
pub fn inputs(graph: &GraphProto) -> Result<Vec<Input>, InputError> {
    let is_weight =
        |input: &&ValueInfoProto| graph.initializer.iter().any(|tensor| tensor.name == input.name);
    let given: Vec<&ValueInfoProto> =
        graph.input.iter().filter(|input| !is_weight(input)).collect();
    let mut inputs = Vec::new();
    for value in &given {
        let dims = value.dims();
        let role = role(&value.name).or((given.len() == 1).then_some(Role::Ids));
        let role = match role {
            Some(role) => role,
            None => cache(value)?,
        };
        check_shape(value, role)?;
        let (name, elem_type) = (value.name.clone(), value.elem_type().unwrap_or_default());
        if !NUMBERS.contains(&elem_type) {
            return Err(InputError::Type { name, elem_type });
        }
        inputs.push(Input { name, role, elem_type, dims: dims.unwrap_or_default(), first: 0 });
    }
    for role in [Role::Ids, Role::Mask, Role::Segments, Role::Positions] {
        let got = inputs.iter().filter(|input| input.role == role).count();
        if got > 1 || got == 0 && role == Role::Ids {
            return Err(InputError::Count { role, got });
        }
    }
    Ok(inputs)
}

/// Checks that what [`rewrite`](crate::rewrite()) makes `inputs` with is in version `opset` of ONNX's
/// operators.
///
/// # Errors
/// If it is not.
pub fn check_opset(inputs: &[Input], opset: i64) -> Result<(), InputError> {
    for input in inputs {
        if let Some((operator, since)) = input.made_by().filter(|(_, since)| opset < *since) {
            return Err(InputError::Opset { name: input.name.clone(), opset, operator, since });
        }
    }
    Ok(())
}

fn role(name: &str) -> Option<Role> {
    // TensorFlow numbers the outputs of what feeds its graphs.
    let name = name.strip_suffix(":0").unwrap_or(name);
    [Role::Ids, Role::Mask, Role::Segments, Role::Positions]
        .into_iter()
        .find(|role| role.aliases().contains(&name))
}

/// A cache, if that is what `value` is: by its name, and by a shape [batch, ..] in which the number of
/// earlier tokens is open.
fn cache(value: &ValueInfoProto) -> Result<Role, InputError> {
    let name = value.name.clone();
    if !(name.contains("past") || name.contains("cache")) {
        return Err(InputError::Unknown { name });
    }
    let can_be_empty = value.dims().is_some_and(|dims| {
        dims.len() == 4
            && dims[0].is_none()
            && dims[1..].iter().filter(|dim| dim.is_none()).count() == 1
    });
    match can_be_empty && matches!(value.elem_type(), Some(FLOAT | FLOAT16)) {
        true => Ok(Role::Cache),
        false => Err(InputError::Cache { name }),
    }
}

fn check_shape(value: &ValueInfoProto, role: Role) -> Result<(), InputError> {
    let Some(dims) = value.dims() else { return Ok(()) };
    let fits = match dims[..] {
        [None, None] => true,
        // One row of positions for all.
        [Some(1), None] => role == Role::Positions,
        // Looked at already.
        _ if role == Role::Cache => true,
        _ => false,
    };
    match fits {
        true => Ok(()),
        false => Err(InputError::Shape {
            name: value.name.clone(),
            shape: value.shape_text().unwrap_or_default(),
        }),
    }
}
