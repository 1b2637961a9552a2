//! The adapter file and the checkpoint: one container for all engines.
//!
//! Both are safetensors files whose `__metadata__` has one key, `mobillm`: a JSON header with the
//! format's name and version and the network's [`Blueprint`]. Tensors are f32, named and shaped as
//! [`Blueprint::parameters`] says. A checkpoint adds to the header the step and how the network is
//! trained, and to the tensors the optimizer's moments, `optimizer.m.NAME` and `optimizer.v.NAME`.
//! Equal weights give equal bytes. A build that does not know the header's architecture refuses the file.
//!
//! What the device does with the output is not in the file. The architecture says whether it is added to
//! the device's own prediction; whether that means logits (the policy `labels` with `own_prediction`) or
//! probabilities (`prediction-difference`) is the privacy policy's to say, in the config of the run.
//!
//! Reading trusts nothing: every name, shape, type and number is checked, and nothing is allocated
//! for what a header merely claims.

use std::collections::HashMap;

use mobillm_core::side_network::SideNetworkError;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::blueprint::{Blueprint, Training, Weights, ensure};
use crate::parameter::Parameter;

const FORMAT: &str = "mobillm-adapter";
const VERSION: u32 = 1;
const HEADER: &str = "mobillm";

/// The optimizer's memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// How many steps have been made.
    pub step: u64,
    /// First moments, in the order of the parameters.
    pub first: Weights,
    /// Second moments, in the order of the parameters.
    pub second: Weights,
}

impl Moments {
    /// Those of a network that has not been trained.
    pub fn new(weights: &[Vec<f32>]) -> Self {
        let zeros: Weights = weights.iter().map(|values| vec![0.0; values.len()]).collect();
        Self { step: 0, first: zeros.clone(), second: zeros }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u32,
    network: Blueprint,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<CheckpointHeader>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointHeader {
    step: u64,
    training: Training,
}

/// The adapter file of `blueprint` with `weights`.
///
/// # Errors
/// If the weights are not those of the blueprint.
pub fn write_adapter(
    blueprint: &Blueprint,
    weights: &[Vec<f32>],
) -> Result<Vec<u8>, SideNetworkError> {
    write(blueprint, None, &[("", weights)])
}

/// The network of an adapter file.
///
/// # Errors
/// If the file is damaged, of another version, or a checkpoint.
pub fn read_adapter(bytes: &[u8]) -> Result<(Blueprint, Weights), SideNetworkError> {
    let (header, tensors) = open(bytes)?;
    if header.checkpoint.is_some() {
        return Err(refused("this is a checkpoint; expected an adapter"));
    }
    let mut groups = read_tensors(&header.network, &tensors, [""])?;
    Ok((header.network, std::mem::take(&mut groups[0])))
}

/// The checkpoint of `blueprint` with `weights`, trained as `training` says up to `moments`.
///
/// # Errors
/// If weights or moments are not those of the blueprint.
pub fn write_checkpoint(
    blueprint: &Blueprint,
    training: &Training,
    weights: &[Vec<f32>],
    moments: &Moments,
) -> Result<Vec<u8>, SideNetworkError> {
    let checkpoint = CheckpointHeader { step: moments.step, training: *training };
    let groups =
        [("", weights), ("optimizer.m.", &moments.first), ("optimizer.v.", &moments.second)];
    write(blueprint, Some(checkpoint), &groups)
}

/// The weights and moments of a checkpoint of `blueprint`, trained as `training` says.
///
/// # Errors
/// If the file is damaged, of another version, an adapter, or of another network or run.
pub fn read_checkpoint(
    bytes: &[u8],
    blueprint: &Blueprint,
    training: &Training,
) -> Result<(Weights, Moments), SideNetworkError> {
    let (header, tensors) = open(bytes)?;
    let Some(checkpoint) = header.checkpoint else {
        return Err(refused("this is an adapter; expected a checkpoint"));
    };
    same("network", &header.network, blueprint)?;
    same("training", &checkpoint.training, training)?;
    let groups = read_tensors(blueprint, &tensors, ["", "optimizer.m.", "optimizer.v."])?;
    let [weights, first, second] = groups;
    Ok((weights, Moments { step: checkpoint.step, first, second }))
}

fn write(
    blueprint: &Blueprint,
    checkpoint: Option<CheckpointHeader>,
    groups: &[(&str, &[Vec<f32>])],
) -> Result<Vec<u8>, SideNetworkError> {
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        network: blueprint.clone(),
        checkpoint,
    };
    let header = serde_json::to_string(&header).map_err(|error| refused(error.to_string()))?;
    let parameters = blueprint.parameters();
    let mut tensors = Vec::new();
    for (prefix, values) in groups {
        if values.len() != parameters.len() {
            let (given, expected) = (values.len(), parameters.len());
            return Err(refused(format!("{given} tensors to write; expected {expected}")));
        }
        for (parameter, values) in parameters.iter().zip(*values) {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            tensors.push((format!("{prefix}{}", parameter.name), parameter, bytes));
        }
    }
    let views = tensors.iter().map(|(name, parameter, bytes): &(_, _, Vec<u8>)| {
        let view = TensorView::new(Dtype::F32, parameter.shape.clone(), bytes);
        view.map(|view| (name, view)).map_err(|error| refused(format!("{name}: {error}")))
    });
    let views = views.collect::<Result<Vec<_>, _>>()?;
    let metadata = HashMap::from([(HEADER.to_owned(), header)]);
    safetensors::serialize(views, Some(metadata)).map_err(|error| refused(error.to_string()))
}

/// The container's own checks, the header's version and the header.
fn open(bytes: &[u8]) -> Result<(Header, SafeTensors<'_>), SideNetworkError> {
    let damaged = |error| refused(format!("not a whole safetensors file ({error}); copy it again"));
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let text = metadata.metadata().as_ref().and_then(|metadata| metadata.get(HEADER));
    let Some(text) = text else {
        return Err(refused(format!("no `{HEADER}` header; expected a file that mobillm wrote")));
    };
    let wrong = |error: serde_json::Error| refused(format!("the `{HEADER}` header: {error}"));
    let header: serde_json::Value = serde_json::from_str(text).map_err(wrong)?;
    let (format, version) = (&header["format"], &header["version"]);
    if format != FORMAT || version != VERSION {
        return Err(refused(format!(
            "format {format}, version {version}; this build reads \"{FORMAT}\", version {VERSION}"
        )));
    }
    let header: Header = serde_json::from_value(header).map_err(wrong)?;
    ensure(header.network.check())?;
    Ok((header, tensors))
}

/// The tensors of each group `prefix` + parameter, and no others.
fn read_tensors<const GROUPS: usize>(
    blueprint: &Blueprint,
    tensors: &SafeTensors<'_>,
    prefixes: [&str; GROUPS],
) -> Result<[Weights; GROUPS], SideNetworkError> {
    let parameters = blueprint.parameters();
    let expected = parameters.len() * GROUPS;
    if tensors.len() != expected {
        return Err(refused(format!("{} tensors; expected {expected}", tensors.len())));
    }
    let mut groups = [const { Vec::new() }; GROUPS];
    for (group, prefix) in groups.iter_mut().zip(prefixes) {
        for parameter in &parameters {
            group.push(read_tensor(tensors, &format!("{prefix}{}", parameter.name), parameter)?);
        }
    }
    Ok(groups)
}

fn read_tensor(
    tensors: &SafeTensors<'_>,
    name: &str,
    parameter: &Parameter,
) -> Result<Vec<f32>, SideNetworkError> {
    let view = tensors.tensor(name).map_err(|error| refused(error.to_string()))?;
    if (view.dtype(), view.shape()) != (Dtype::F32, &parameter.shape) {
        return Err(refused(format!(
            "tensor {name} is {} {:?}; expected F32 {:?}",
            view.dtype(),
            view.shape(),
            parameter.shape
        )));
    }
    let (values, _) = view.data().as_chunks::<4>();
    let values: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(refused(format!(
            "tensor {name} holds {} at {at}; expected finite numbers",
            values[at]
        ))),
        None => Ok(values),
    }
}

/// Refuses a checkpoint whose header section differs from this run's, field by field.
///
/// Both are compared as the JSON that was or would be written: a parsed float may be off by a bit.
fn same<T>(section: &str, written: &T, expected: &T) -> Result<(), SideNetworkError>
where
    T: Serialize + for<'de> Deserialize<'de>,
{
    let as_written = |value: &T| {
        let text = serde_json::to_string(value)?;
        serde_json::from_str::<T>(&text).and_then(serde_json::to_value)
    };
    let wrong = |error: serde_json::Error| refused(error.to_string());
    let ours = as_written(expected).map_err(wrong)?;
    let theirs = serde_json::to_value(written).map_err(wrong)?;
    let fields = ours.as_object().into_iter().flatten();
    match fields.into_iter().find(|(field, value)| theirs.get(field.as_str()) != Some(value)) {
        Some((field, value)) => Err(refused(format!(
            "the checkpoint is of another run: {section}.{field} is {}; expected {value}",
            theirs.get(field).unwrap_or_default()
        ))),
        None => Ok(()),
    }
}

fn refused(problem: impl Into<String>) -> SideNetworkError {
    SideNetworkError::Adapter { problem: problem.into() }
}

#[cfg(test)]
mod tests;
