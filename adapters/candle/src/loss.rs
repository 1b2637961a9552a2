//! The losses of [`Architecture`](mobillm_adapter_portable::Architecture), with their gradients.

use mobillm_adapter_portable::Targets;

/// The mean loss over `samples` and its gradient by `outputs`, `[samples, outputs]`.
pub(crate) fn loss_and_gradient(
    outputs: &[f32],
    samples: usize,
    targets: &Targets,
) -> (f32, Vec<f32>) {
    match targets {
        Targets::Values(values) => squared_error(outputs, samples, values),
        Targets::Classes { classes, own } => cross_entropy(outputs, classes, own),
    }
}

fn squared_error(outputs: &[f32], samples: usize, values: &[f32]) -> (f32, Vec<f32>) {
    let samples = samples as f32;
    let off: Vec<f32> = outputs.iter().zip(values).map(|(got, want)| got - want).collect();
    let loss = off.iter().map(|off| off * off).sum::<f32>() / samples;
    (loss, off.iter().map(|off| 2.0 * off / samples).collect())
}

fn cross_entropy(outputs: &[f32], classes: &[u32], own: &[f32]) -> (f32, Vec<f32>) {
    let samples = classes.len() as f32;
    let mut loss = 0.0;
    let mut gradient: Vec<f32> =
        outputs.iter().zip(own).map(|(output, own)| own + output).collect();
    for (logits, &class) in gradient.chunks_mut(outputs.len() / classes.len()).zip(classes) {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
        loss += total.ln() + largest - logits[class as usize];
        for (index, logit) in logits.iter_mut().enumerate() {
            let truth = f32::from(u8::from(index == class as usize));
            *logit = ((*logit - largest).exp() / total - truth) / samples;
        }
    }
    (loss / samples, gradient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_squared_error_is_summed_over_outputs_and_its_mean_taken_over_samples() {
        let targets = Targets::Values(vec![0.0, 1.0, 0.0, 0.0]);
        let (loss, gradient) = loss_and_gradient(&[1.0, 3.0, 0.0, 0.5], 2, &targets);
        assert_eq!(loss, (1.0 + 4.0 + 0.25) / 2.0);
        assert_eq!(gradient, [1.0, 2.0, 0.0, 0.5]);
    }

    #[test]
    fn cross_entropy_starts_from_the_own_logits() {
        let (outputs, own) = ([0.5, -1.0, 2.0], vec![1.0, 0.25, -3.0]);
        let sum: Vec<f32> = outputs.iter().zip(&own).map(|(output, own)| own + output).collect();
        let joined = loss_and_gradient(&outputs, 1, &Targets::Classes { classes: vec![1], own });
        let alone = Targets::Classes { classes: vec![1], own: vec![0.0; 3] };
        assert_eq!(joined, loss_and_gradient(&sum, 1, &alone));
        let total: f32 = sum.iter().map(|logit| logit.exp()).sum();
        assert!((joined.0 + (sum[1].exp() / total).ln()).abs() < 1e-6);
        assert!(joined.1.iter().sum::<f32>().abs() < 1e-6 && joined.1[1] < 0.0);
    }
}
