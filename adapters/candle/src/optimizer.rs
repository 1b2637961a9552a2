//! AdamW on plain slices, as [`AdamWStep`] spells it out.

use mobillm_adapter_portable::file::Moments;
use mobillm_adapter_portable::{AdamWStep, Blueprint, Training, Weights};

use crate::kernels::sum;

/// The Euclidean norm of all gradients together.
pub(crate) fn norm(gradients: &[Vec<f32>]) -> f64 {
    let squares = |values: &Vec<f32>| sum(values, |value| f64::from(value) * f64::from(value));
    gradients.iter().map(squares).sum::<f64>().sqrt()
}

/// Makes one step along `gradients`, whose norm is `norm`; the learning rate it took.
pub(crate) fn step(
    blueprint: &Blueprint,
    training: &Training,
    weights: &mut Weights,
    moments: &mut Moments,
    gradients: &[Vec<f32>],
    norm: f64,
) -> f64 {
    let step = AdamWStep::new(training, moments.step, norm);
    let tensors = weights.iter_mut().zip(&mut moments.first).zip(&mut moments.second);
    for (parameter, (((w, m), v), g)) in blueprint.parameters().iter().zip(tensors.zip(gradients)) {
        let decay = if parameter.decays() { step.decay } else { 1.0 };
        for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(g) {
            let g = g * step.clip;
            *m = step.beta1 * *m + (1.0 - step.beta1) * g;
            *v = step.beta2 * *v + (1.0 - step.beta2) * g * g;
            *w = *w * decay - step.rate * *m / ((*v * step.second).sqrt() + step.epsilon);
        }
    }
    moments.step += 1;
    step.learning_rate
}
