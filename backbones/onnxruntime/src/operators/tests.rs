//! The operators as ONNX Runtime calls them: inputs left out, shapes, refusals. What they compute is
//! tested where it is computed.

use std::borrow::Cow;

use mobillm_bundle::onnx::{
    AttributeProto, Axis, FLOAT, GraphProto, INT8, INT16, INT64, ModelProto, NodeProto,
    OperatorSetIdProto, ValueInfoProto,
};
use ndarray::{Array, Array1, Array3, ArrayD, Dimension, array};
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{PrimitiveTensorElementType, Tensor};
use prost::Message;

use crate::{library, tap};

type Given = (i32, SessionInputValue<'static>);

fn environment() -> Environment {
    let cache = mobillm_pull::Cache::user().unwrap();
    let library = mobillm_pull::pull(&cache, "onnxruntime", &mut |_| {}).unwrap();
    library::load(&library).unwrap()
}

fn given<T, D>(element: i32, values: Array<T, D>) -> Option<Given>
where
    T: PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static,
    D: Dimension + 'static,
{
    let _loaded = environment();
    Some((element, Tensor::from_array(values.into_dyn()).unwrap().into()))
}

fn float<D: Dimension + 'static>(values: Array<f32, D>) -> Option<Given> {
    given(FLOAT, values)
}

/// Runs a graph of one operator. An input that is `None` is left out; of outputs of `kinds`, floats
/// come back.
fn run(
    op_type: &str,
    inputs: Vec<Option<Given>>,
    attribute: Vec<AttributeProto>,
    kinds: &[i32],
) -> ort::Result<Vec<ArrayD<f32>>> {
    let name = |at: usize| format!("in.{at}");
    let outputs: Vec<String> = (0..kinds.len()).map(|at| format!("out.{at}")).collect();
    let node = NodeProto {
        input: inputs
            .iter()
            .enumerate()
            .map(|(at, input)| input.as_ref().map_or(String::new(), |_| name(at)))
            .collect(),
        output: outputs.clone(),
        op_type: op_type.to_owned(),
        domain: tap::DOMAIN.to_owned(),
        attribute,
        ..NodeProto::default()
    };
    let untyped = |name: &str, element: i32, rank: usize| {
        let axes: Vec<String> = (0..rank).map(|axis| format!("{name}.{axis}")).collect();
        let axes: Vec<Axis<'_>> = axes.iter().map(|axis| Axis::Named(axis)).collect();
        ValueInfoProto::tensor(name, element, &axes)
    };
    let mut taken = Vec::new();
    let mut values: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::new();
    for (at, input) in inputs.into_iter().enumerate() {
        let Some((element, value)) = input else { continue };
        let SessionInputValue::Owned(value) = value else { unreachable!("`given` makes it so") };
        let rank = value.shape().len();
        taken.push(untyped(&name(at), element, rank));
        values.push((name(at).into(), SessionInputValue::Owned(value)));
    }
    let graph = GraphProto {
        name: "one".to_owned(),
        node: vec![node],
        input: taken,
        output: outputs.iter().zip(kinds).map(|(name, &kind)| untyped(name, kind, 3)).collect(),
        ..GraphProto::default()
    };
    let set = |domain: &str, version| OperatorSetIdProto { domain: domain.to_owned(), version };
    let model = ModelProto {
        ir_version: 10,
        graph: Some(graph),
        opset_import: vec![set("", 21), set(tap::DOMAIN, 1)],
        ..ModelProto::default()
    };
    let mut session = Session::builder(&environment())?
        .with_operators(tap::domain()?)?
        .with_log_level(LogLevel::Fatal)?
        .commit_from_memory(&model.encode_to_vec())?;
    let results = session.run(values)?;
    let result = |(name, kind): (&String, &i32)| {
        if *kind == INT16 {
            return Ok(results[&**name].try_extract_array::<i16>()?.mapv(f32::from));
        }
        Ok(results[&**name].try_extract_array::<f32>()?.to_owned())
    };
    outputs.iter().zip(kinds).map(result).collect()
}

fn problem(result: ort::Result<Vec<ArrayD<f32>>>) -> String {
    result.unwrap_err().to_string()
}

const QUANTIZED: &[i32] = &[INT16, FLOAT];

/// 20 rows, so that there are several tasks: row r is r times (32767, -1, 0.5).
fn rows() -> Array3<f32> {
    Array3::from_shape_fn((2, 10, 3), |(i, j, k)| (10 * i + j) as f32 * [32_767.0, -1.0, 0.5][k])
}

#[test]
fn rows_are_quantized_one_by_one() {
    let outputs = run("QuantizeRows", vec![float(rows())], vec![], QUANTIZED).unwrap();
    assert_eq!((outputs[0].shape(), outputs[1].shape()), (&[2, 10, 3][..], &[2, 10, 1][..]));
    for (row, (quants, scale)) in outputs[0].rows().into_iter().zip(&outputs[1]).enumerate() {
        let expected = if row == 0 { [0.0; 3] } else { [32_767.0, -1.0, 0.0] };
        assert_eq!((quants.to_vec(), *scale), (expected.to_vec(), row as f32));
    }
}

#[test]
fn a_norm_is_taken_before() {
    let attributes =
        || vec![AttributeProto::string("kind", "rms"), AttributeProto::float("epsilon", 0.0)];
    let x = || float(array![[[3.0_f32, -4.0, 0.0, 0.0]]]);
    let weight = || float(Array1::from(vec![1.0_f32; 4]));
    let plain = run("NormQuantizeRows", vec![x(), weight()], attributes(), QUANTIZED).unwrap();
    // 3 and 4 over the root of their mean square, 2.5.
    assert!((plain[1][[0, 0, 0]] - 1.6 / 32_767.0).abs() < 1e-9);
    assert_eq!(plain[0].iter().copied().collect::<Vec<_>>(), [24_575.0, -32_767.0, 0.0, 0.0]);
    let bias = float(array![0.0_f32, 0.0, 0.0, 3.2]);
    let moved =
        run("NormQuantizeRows", vec![x(), weight(), bias], attributes(), QUANTIZED).unwrap();
    assert!((moved[1][[0, 0, 0]] - 3.2 / 32_767.0).abs() < 1e-9);

    let short = float(array![1.0_f32]);
    let wrong = problem(run("NormQuantizeRows", vec![x(), short], attributes(), QUANTIZED));
    assert!(wrong.contains("the norm's weight has 1 elements, expected 4"), "{wrong}");
    let wrong = problem(run("NormQuantizeRows", vec![x()], attributes(), QUANTIZED));
    assert!(wrong.contains("a norm has no weight"), "{wrong}");
    let kind = vec![AttributeProto::string("kind", "batch"), AttributeProto::float("epsilon", 0.0)];
    let wrong = problem(run("NormQuantizeRows", vec![x(), weight()], kind, QUANTIZED));
    assert!(wrong.contains("`kind` is \"batch\""), "{wrong}");
    let none = vec![AttributeProto::string("kind", "rms")];
    let wrong = problem(run("NormQuantizeRows", vec![x(), weight()], none, QUANTIZED));
    assert!(wrong.contains("no attribute `epsilon`"), "{wrong}");
}

#[test]
fn an_activation_is_taken_before() {
    let relu = || vec![AttributeProto::string("activation", "relu")];
    let run = |inputs, attributes| run("ActivateQuantizeRows", inputs, attributes, QUANTIZED);
    let x = || float(array![[[-5.0_f32, 2.0, 2.0]]]);
    let plain = run(vec![x()], relu()).unwrap();
    assert_eq!(plain[0].iter().copied().collect::<Vec<_>>(), [0.0, 32_767.0, 32_767.0]);
    let up = float(array![[[9.0_f32, -1.0, 1.0]]]);
    let gated = run(vec![x(), up], relu()).unwrap();
    assert_eq!(gated[0].iter().copied().collect::<Vec<_>>(), [0.0, -32_767.0, 32_767.0]);
    let wrong = problem(run(vec![x(), float(array![1.0_f32])], relu()));
    assert!(wrong.contains("the second factor has 1 elements, expected 3"), "{wrong}");
    let wrong = problem(run(vec![x()], vec![AttributeProto::string("activation", "selu")]));
    assert!(wrong.contains("`activation` is \"selu\""), "{wrong}");
}

#[test]
fn a_linear_map_takes_bias_and_residual_or_not() {
    let quants = || given(INT16, array![[[1_i16, 0, 0, 0], [2, 1, 0, 0]]]);
    let scales = || float(array![[[1.0_f32], [2.0]]]);
    let weight = || given(INT8, array![[1_i8, 2, 3], [4, 5, 6], [7, 8, 9], [7, 8, 9]]);
    let weight_scales = || float(array![1.0_f32, 10.0, 100.0]);
    let run = |more: Vec<Option<Given>>| {
        let inputs = vec![quants(), scales(), weight(), weight_scales()];
        run("Int8Linear", inputs.into_iter().chain(more).collect(), vec![], &[FLOAT])
    };
    let product = array![[[1.0_f32, 20.0, 300.0], [12.0, 180.0, 2400.0]]].into_dyn();
    assert_eq!(run(vec![]).unwrap()[0], product);
    let bias = || array![1.0_f32, 2.0, 3.0];
    assert_eq!(run(vec![float(bias())]).unwrap()[0], &product + &bias());
    let residual = || Array3::from_shape_fn((1, 2, 3), |(_, row, _)| [0.5_f32, 0.25][row]);
    assert_eq!(run(vec![None, float(residual())]).unwrap()[0], &product + &residual());
    let both = run(vec![float(bias()), float(residual())]).unwrap();
    assert_eq!(both[0], &product + &bias() + &residual());
    let wrong = problem(run(vec![float(array![1.0_f32])]));
    assert!(wrong.contains("the bias has 1 elements, expected 3"), "{wrong}");
}

#[test]
fn attention_takes_frequencies_and_a_mask_or_not() {
    let attributes = |causal: i64| {
        [("heads", 2), ("key_heads", 1), ("causal", causal)]
            .map(|(name, value)| AttributeProto::int(name, value))
            .to_vec()
    };
    // All scores are equal, so a token gets the mean of what it sees.
    let query = || float(Array3::<f32>::zeros((1, 3, 4)));
    let key = || float(Array3::<f32>::ones((1, 3, 2)));
    let value = || float(array![[[1.0_f32, 10.0], [2.0, 20.0], [6.0, 60.0]]]);
    let run = |causal, more: Vec<Option<Given>>| {
        let inputs = vec![query(), key(), value()].into_iter().chain(more).collect();
        run("Attention", inputs, attributes(causal), &[FLOAT])
    };
    let firsts = |result: ort::Result<Vec<ArrayD<f32>>>| {
        result.unwrap()[0].rows().into_iter().map(|row| row[2]).collect::<Vec<f32>>()
    };
    assert_eq!(firsts(run(1, vec![])), [1.0, 1.5, 3.0]);
    assert_eq!(firsts(run(0, vec![])), [3.0; 3]);
    let mask = given(INT64, array![[1_i64, 1, 0]]);
    assert_eq!(firsts(run(0, vec![None, mask]))[..2], [1.5; 2]);
    assert_eq!(firsts(run(1, vec![float(array![1.0_f32])])), [1.0, 1.5, 3.0]);

    let mask = given(INT64, array![[0_i64, 1, 1]]);
    let wrong = problem(run(0, vec![None, mask]));
    assert!(wrong.contains("ones, then zeros"), "{wrong}");
    let wrong = problem(run(1, vec![float(array![1.0_f32, 2.0])]));
    assert!(wrong.contains("half of 2"), "{wrong}");
}
