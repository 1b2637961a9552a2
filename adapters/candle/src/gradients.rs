//! Every gradient is the slope of the loss.

use mobillm_adapter_portable::{
    Activation, Architecture, Blueprint, Bottleneck, Projection, Targets, Weights,
};
use mobillm_core::activations::{ActivationBatch, Layout};
use mobillm_core::backbone::Pooling;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::sample::Objective;

use crate::network::loss_and_gradients;

/// Numbers without a pattern that a mistake could hide in.
fn noise(count: usize, salt: f32) -> Vec<f32> {
    (0..count).map(|index| (index as f32 * 1.7 + salt).sin()).collect()
}

const GELU: Architecture =
    Architecture::AdditiveAdapter(Bottleneck { rank: 3, activation: Activation::Gelu });
const RELU: Architecture =
    Architecture::AdditiveAdapter(Bottleneck { rank: 3, activation: Activation::Relu });
const POOLING: Architecture = Architecture::AdditivePooling(Projection { width: 4 });

fn blueprint(architecture: Architecture, objective: Objective) -> Blueprint {
    Blueprint {
        architecture,
        taps: vec![1, 2, 4],
        hidden: 5,
        pooling: Pooling::Mean,
        objective,
        bundle: Fingerprint::of(b"bundle"),
    }
}

/// Every gradient against central differences, at weights where nothing is zero.
fn check_gradients(blueprint: &Blueprint, targets: &Targets) {
    let layout = Layout::from_counts([2, 1, 3]);
    let taps = (0..3).map(|tap| noise(layout.rows() * 5, tap as f32 * 0.9)).collect();
    let batch = ActivationBatch::new(layout, 5, taps).unwrap();
    let rows = blueprint.rows(&batch).unwrap();
    let mut weights = blueprint.initial(5);
    for (salt, values) in weights.iter_mut().enumerate() {
        let noise = noise(values.len(), 0.3 * salt as f32);
        values.iter_mut().zip(noise).for_each(|(value, noise)| *value += 0.4 * noise);
    }
    let run =
        |weights: &Weights| loss_and_gradients(blueprint, weights, &batch, &rows, targets).unwrap();
    let (_, gradients) = run(&weights);
    const STEP: f32 = 1e-2;
    for (tensor, parameter) in blueprint.parameters().iter().enumerate() {
        assert_eq!(gradients[tensor].len(), weights[tensor].len());
        for index in 0..weights[tensor].len() {
            let mut loss_at = |offset: f32| {
                let kept = weights[tensor][index];
                weights[tensor][index] = kept + offset;
                let (loss, _) = run(&weights);
                weights[tensor][index] = kept;
                f64::from(loss)
            };
            let numeric = (loss_at(STEP) - loss_at(-STEP)) / (2.0 * f64::from(STEP));
            let exact = f64::from(gradients[tensor][index]);
            let near = (numeric - exact).abs() < 1e-3 + 1e-2 * exact.abs();
            assert!(near, "{}[{index}]: {exact}, by differences {numeric}", parameter.name);
        }
    }
}

#[test]
fn every_gradient_is_the_slope_of_the_loss() {
    let classes = vec![0, 2, 1];
    let alone = Targets::Classes { classes: classes.clone(), own: vec![0.0; 9] };
    let objective = Objective::Classification { classes: 3 };
    check_gradients(&blueprint(RELU, objective), &alone);
    for architecture in [GELU, POOLING] {
        let of_classes = blueprint(architecture, objective);
        check_gradients(&of_classes, &alone);
        let with_own = Targets::Classes { classes: classes.clone(), own: noise(9, 0.2) };
        check_gradients(&of_classes, &with_own);
        check_gradients(&of_classes, &Targets::Values(noise(9, 0.6)));
        let values = Targets::Values(vec![0.5, -1.0, 2.0]);
        check_gradients(&blueprint(architecture, Objective::Regression), &values);
    }
}

#[test]
fn and_so_it_is_where_the_backbone_pools_one_token() {
    let objective = Objective::Classification { classes: 3 };
    let targets = Targets::Values(noise(9, 0.6));
    for pooling in [Pooling::FirstToken, Pooling::LastToken] {
        for architecture in [GELU, POOLING] {
            check_gradients(&Blueprint { pooling, ..blueprint(architecture, objective) }, &targets);
        }
    }
}
