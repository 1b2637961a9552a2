//! The operator `mobillm.Tap`: hands its input to the sink of the run and passes it on.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};

use mobillm_core::BoxError;
use mobillm_core::backbone::{Tap, TapSink};
use ndarray::ArrayView3;
use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
};
use ort::value::{TensorElementType, TensorRef, TensorRefMut};

use crate::operators;

/// The domain of the operator.
pub(crate) const DOMAIN: &str = "mobillm";
/// The operator.
pub(crate) const OPERATOR: &str = "Tap";
/// Its attribute: the layer whose output it taps.
pub(crate) const LAYER: &str = "layer";

/// The domain with all operators of ours, for a session.
pub(crate) fn domain() -> ort::Result<OperatorDomain> {
    operators::add_to(OperatorDomain::new(DOMAIN)?.add(TapOperator)?)
}

/// Why a tap ended the run.
pub(crate) enum Failure {
    /// The sink refused the tap.
    Sink { layer: usize, source: BoxError },
    /// The sink panicked; this is to be resumed once ONNX Runtime is left behind.
    Panic(Box<dyn Any + Send>),
}

/// What a run lends to the taps of its graph.
struct Loan<'a> {
    sink: &'a mut dyn TapSink,
    lengths: &'a [usize],
    failure: Option<Failure>,
}

thread_local! {
    /// The loan of the run on this thread; null when there is none, or while a sink has it.
    ///
    /// An operator belongs to its session and outlives every run, but a sink is lent for one run
    /// and may not leave its thread. ONNX Runtime runs the nodes of a sequential session on the
    /// thread that calls it, so that is where a tap looks.
    static LENT: Cell<*mut Loan<'static>> = const { Cell::new(ptr::null_mut()) };
}

/// Lends `sink` to the taps of the session that `run` runs, and tells if one of them failed.
pub(crate) fn lend<T>(
    sink: &mut dyn TapSink,
    lengths: &[usize],
    run: impl FnOnce() -> T,
) -> (T, Option<Failure>) {
    /// Ends the loan, also when `run` unwinds. A sink may itself run a backbone: its loan ends
    /// before the one that it interrupts goes on.
    struct Outer(*mut Loan<'static>);
    impl Drop for Outer {
        fn drop(&mut self) {
            LENT.set(self.0);
        }
    }

    let mut loan = Loan { sink, lengths, failure: None };
    let lent = NonNull::from(&mut loan).cast::<Loan<'static>>();
    let outer = Outer(LENT.replace(lent.as_ptr()));
    let result = run();
    drop(outer);
    (result, loan.failure)
}

struct TapOperator;

impl Operator for TapOperator {
    type Kernel<'attr> = TapKernel;

    // The output is the input's memory.
    const ALIASES: &[(u32, u32)] = &[(0, 0)];

    fn name(&self) -> &str {
        OPERATOR
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<TapKernel> {
        let layer: i64 = context.get(LAYER).ok_or_else(|| ort::Error::new("a tap has no layer"))?;
        let layer = usize::try_from(layer).map_err(|_| ort::Error::new("a layer is negative"))?;
        Ok(TapKernel { layer })
    }
}

struct TapKernel {
    layer: usize,
}

impl Kernel for TapKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let missing = || ort::Error::new("a tap has no input or output");
        let input: TensorRef<'_, f32> = context.input(0)?.ok_or_else(missing)?.downcast()?;
        let (shape, values) = input.extract_tensor();
        self.hand_out(shape, values)?;

        let output: TensorRefMut<'_, f32> =
            context.output(0, shape.clone())?.ok_or_else(missing)?.downcast()?;
        let target = output.data_ptr().cast_mut().cast::<f32>();
        // The alias is a permission, which ONNX Runtime need not use.
        if target.cast_const() != values.as_ptr() {
            // SAFETY: the output was made with the input's shape and type, so it holds
            // `values.len()` floats, and a tensor that is not the input does not overlap it.
            unsafe { ptr::copy_nonoverlapping(values.as_ptr(), target, values.len()) };
        }
        Ok(())
    }
}

impl TapKernel {
    /// Hands `values` to the sink that is lent to this run. A failure is left in the loan; the
    /// error returned here only makes ONNX Runtime stop.
    fn hand_out(&self, shape: &[i64], values: &[f32]) -> ort::Result<()> {
        // Taken, so that nothing the sink calls can take it a second time.
        let lent = LENT.replace(ptr::null_mut());
        let mut lent = NonNull::new(lent)
            .ok_or_else(|| ort::Error::new("a tap ran where no sink was lent to it"))?;
        // SAFETY: `lend` put a pointer to a loan of its own stack frame there and waits until the
        // run is over before it touches the loan or returns: the loan is alive. Only this thread
        // can see the pointer, and it was taken: nobody else has the loan. The lifetime is not
        // really 'static, and nothing borrowed from the loan leaves this function.
        let loan = unsafe { lent.as_mut() };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let hidden = view(shape, values)?;
            loan.sink.tap(Tap { layer: self.layer, hidden, lengths: loan.lengths })
        }));
        loan.failure = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(source)) => Some(Failure::Sink { layer: self.layer, source }),
            Err(panic) => Some(Failure::Panic(panic)),
        };
        let failed = loan.failure.is_some();
        LENT.set(lent.as_ptr());
        if failed { Err(ort::Error::new("the sink refused a tap")) } else { Ok(()) }
    }
}

/// `values` as `[batch, tokens, hidden]`.
fn view<'a>(shape: &[i64], values: &'a [f32]) -> Result<ArrayView3<'a, f32>, BoxError> {
    let &[batch, tokens, hidden] = shape else {
        return Err(format!("expected [batch, tokens, hidden], got {shape:?}").into());
    };
    let shape = (batch as usize, tokens as usize, hidden as usize);
    Ok(ArrayView3::from_shape(shape, values)?)
}

#[cfg(test)]
mod tests {
    use mobillm_bundle::onnx::{
        AttributeProto, Axis, FLOAT, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
        ValueInfoProto,
    };
    use ndarray::{Array3, array};
    use ort::logging::LogLevel;
    use ort::session::Session;
    use prost::Message;

    use super::*;
    use crate::library;

    /// `x -> Tap(0) -> a -> Tap(1) -> y`
    fn session() -> Session {
        let tap = |layer: i64, from: &str, to: &str| NodeProto {
            input: vec![from.to_owned()],
            output: vec![to.to_owned()],
            name: to.to_owned(),
            op_type: OPERATOR.to_owned(),
            attribute: vec![AttributeProto::int(LAYER, layer)],
            domain: DOMAIN.to_owned(),
            ..NodeProto::default()
        };
        let axes = ["batch", "tokens", "hidden"].map(Axis::Named);
        let graph = GraphProto {
            node: vec![tap(0, "x", "a"), tap(1, "a", "y")],
            name: "taps".to_owned(),
            input: vec![ValueInfoProto::tensor("x", FLOAT, &axes)],
            output: vec![ValueInfoProto::tensor("y", FLOAT, &axes)],
            ..GraphProto::default()
        };
        let set = |domain: &str, version| OperatorSetIdProto { domain: domain.to_owned(), version };
        let model = ModelProto {
            ir_version: 10,
            graph: Some(graph),
            opset_import: vec![set("", 21), set(DOMAIN, 1)],
            ..ModelProto::default()
        };
        let cache = mobillm_pull::Cache::user().unwrap();
        let library = mobillm_pull::pull(&cache, "onnxruntime", &mut |_| {}).unwrap();
        let builder = Session::builder(&library::load(&library).unwrap()).unwrap();
        let builder = builder.with_operators(domain().unwrap()).unwrap();
        let mut builder = builder.with_log_level(LogLevel::Fatal).unwrap();
        builder.commit_from_memory(&model.encode_to_vec()).unwrap()
    }

    fn run(session: &mut Session, x: &Array3<f32>) -> ort::Result<Array3<f32>> {
        let outputs = session.run(ort::inputs![TensorRef::from_array_view(x)?])?;
        let y = outputs["y"].try_extract_array::<f32>()?;
        Ok(y.to_owned().into_dimensionality().unwrap())
    }

    #[test]
    fn between_nodes_nothing_is_copied_and_an_output_of_the_graph_is() {
        let mut session = session();
        let x = array![[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]];
        let mut seen = Vec::new();
        let mut sink = |tap: Tap<'_>| {
            assert_eq!(tap.hidden, x);
            seen.push(tap.hidden.as_ptr());
            Ok(())
        };
        let (y, failure) = lend(&mut sink, &[3], || run(&mut session, &x));
        assert!(failure.is_none());
        assert_eq!(y.unwrap(), x);
        assert_eq!(seen, [x.as_ptr(); 2]);
    }

    #[test]
    fn without_a_loan_a_tap_fails() {
        let error = run(&mut session(), &array![[[1.0]]]).unwrap_err().to_string();
        assert!(error.contains("no sink was lent"), "{error}");
    }
}
