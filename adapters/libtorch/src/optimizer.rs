//! AdamW on tensors, as [`AdamWStep`] spells it out.

use mobillm_adapter_portable::{AdamWStep, Blueprint, Training};
use tch::{TchError, Tensor};

/// The Euclidean norm of all gradients together.
pub(crate) fn norm(gradients: &[Tensor]) -> Result<f64, TchError> {
    let norms = gradients.iter().map(Tensor::f_norm).collect::<Result<Vec<_>, _>>()?;
    Tensor::f_stack(&norms, 0)?.f_norm()?.f_double_value(&[])
}

/// What the optimizer changes.
pub(crate) struct State<'a> {
    pub(crate) weights: &'a mut [Tensor],
    pub(crate) first: &'a mut [Tensor],
    pub(crate) second: &'a mut [Tensor],
}

/// Makes step `number` along `gradients`, whose norm is `norm`; the learning rate it took.
pub(crate) fn step(
    blueprint: &Blueprint,
    training: &Training,
    number: u64,
    state: State<'_>,
    gradients: &[Tensor],
    norm: f64,
) -> Result<f64, TchError> {
    let step = AdamWStep::new(training, number, norm);
    let times = |tensor: &Tensor, factor: f32| tensor.f_mul_scalar(f64::from(factor));
    let tensors = state.weights.iter_mut().zip(state.first).zip(state.second);
    for (parameter, (((w, m), v), g)) in blueprint.parameters().iter().zip(tensors.zip(gradients)) {
        let decay = if parameter.decays() { step.decay } else { 1.0 };
        let g = times(g, step.clip)?;
        *m = times(m, step.beta1)?.f_add(&times(&g, 1.0 - step.beta1)?)?;
        *v = times(v, step.beta2)?.f_add(&times(&g.f_square()?, 1.0 - step.beta2)?)?;
        let divisor = times(v, step.second)?.f_sqrt()?.f_add_scalar(f64::from(step.epsilon))?;
        *w = times(w, decay)?.f_sub(&times(m, step.rate)?.f_div(&divisor)?)?;
    }
    Ok(step.learning_rate)
}
