//! What holds for the figures of every comparison.

use mobillm::run::summary::Summary;
use mobillm_report::{Comparison, Outcome, SeedRun, Target, Variant};
use proptest::prelude::*;
use serde_json::json;

use crate::samples::{MOBILLM, PAE, Plan, both, failed, machine, summary, variant};

fn compare(variants: Vec<Variant>) -> Comparison {
    Comparison::new(variants, Target::default(), machine())
}

/// One to five different seeds, in any order.
fn seeds() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::hash_set(0u64..100, 1..6).prop_map(|seeds| seeds.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_variant_does_not_differ_from_itself(seeds in seeds()) {
        let same = compare(vec![variant(&PAE, &seeds), variant(&PAE, &seeds)]);
        prop_assert_eq!(same.figures.variants[0].difference, None);
        let difference = same.figures.variants[1].difference.unwrap();
        prop_assert_eq!(
            (difference.n, difference.mean, difference.min, difference.max),
            (seeds.len(), 0.0, 0.0, 0.0)
        );
    }

    #[test]
    fn the_order_of_seeds_changes_nothing(seeds in seeds(), by in 0usize..5) {
        let mut others = seeds.clone();
        others.rotate_left(by % seeds.len());
        let swapped = compare(vec![variant(&MOBILLM, &others), variant(&PAE, &seeds)]);
        prop_assert!(swapped == both(&seeds));
        prop_assert_eq!(swapped.html(), both(&seeds).html());
    }

    #[test]
    fn a_failed_run_changes_no_figure(seeds in seeds(), of in 0usize..2) {
        let whole = both(&seeds);
        let mut variants = whole.variants.clone();
        variants[of].runs.insert(0, failed(100, "no disk"));
        let mut with_failure = compare(variants).figures;
        prop_assert_eq!(with_failure.excluded.len(), 1);
        with_failure.excluded.clear();
        with_failure.variants[of].runs -= 1;
        prop_assert_eq!(with_failure, whole.figures);
    }

    #[test]
    fn differences_are_between_runs_of_one_seed(seeds in seeds(), points in -0.5..0.5_f64) {
        // The variants' noise is the same for a seed, so that only rounding to whole rows is left.
        let shifted = Plan { points, ..MOBILLM };
        let more: Vec<u64> = seeds.iter().copied().chain([200, 201]).collect();
        let compared = compare(vec![variant(&MOBILLM, &seeds), variant(&shifted, &more)]);
        let difference = compared.figures.variants[1].difference.unwrap();
        prop_assert_eq!(difference.n, seeds.len());
        for end in [difference.min, difference.mean, difference.max] {
            prop_assert!((end - points / 100.0).abs() <= 1.0 / 907.0, "{} for {}", end, points);
        }
    }

    #[test]
    fn what_a_target_costs_rises_with_it(seeds in seeds(), low in 0.9..1.0_f64, high in 0.9..1.0_f64) {
        let (low, high) = (low.min(high), low.max(high));
        let figures = |target| {
            let variants = vec![variant(&MOBILLM, &seeds)];
            Comparison::new(variants, Target::Value(target), machine()).figures.variants.remove(0)
        };
        let (near, far) = (figures(low), figures(high));
        prop_assert!(far.reached <= near.reached);
        if let (Some(near), Some(far)) = (near.seconds_to_target, far.seconds_to_target) {
            // Over the same seeds only: who misses the higher target may have been slow to the lower.
            prop_assert!(far.n < near.n || far.mean >= near.mean);
        }
        prop_assert_eq!(far.seconds_to_target.is_none(), far.reached == 0);
    }

    #[test]
    fn a_target_that_nobody_reaches_has_no_figure(seeds in seeds()) {
        let variants = both(&seeds).variants;
        let compared = Comparison::new(variants, Target::Value(1.001), machine());
        for variant in &compared.figures.variants {
            prop_assert_eq!(variant.reached, 0);
            prop_assert_eq!((variant.seconds_to_target, variant.bytes_up_to_target), (None, None));
        }
        let table = compared.table();
        for row in ["seconds to target", "bytes up to target"] {
            let row = table.lines().find(|line| line.contains(row)).unwrap();
            prop_assert_eq!(row.matches("not reached").count(), 2);
            prop_assert!(!row.contains(char::is_numeric), "{}", row);
        }
    }
}

#[test]
fn a_figure_that_is_no_number_excludes_its_run() {
    let spoil: [fn(&mut Summary); 5] = [
        |run| run.eval.before = f64::NAN,
        |run| run.eval.after = f64::INFINITY,
        |run| run.eval.macro_f1 = Some(f64::NAN),
        |run| run.wall_seconds = f64::NEG_INFINITY,
        |run| run.epochs[1].train_loss = f64::NAN,
    ];
    for spoil in spoil {
        let mut spoilt = summary(&MOBILLM, 2);
        spoil(&mut spoilt);
        let mut only = variant(&MOBILLM, &[1]);
        let outcome = Outcome::Finished(Box::new(spoilt));
        only.runs.push(SeedRun { seed: 2, outcome });
        let mut compared = compare(vec![only]);
        let [excluded] = &compared.figures.excluded[..] else { panic!("{:?}", compared.figures) };
        assert!(excluded.seed == 2 && excluded.reason.contains("not a finite number"));
        compared.figures.excluded.clear();
        compared.figures.variants[0].runs -= 1;
        assert_eq!(compared.figures, compare(vec![variant(&MOBILLM, &[1])]).figures);
    }
}

#[test]
fn the_cost_of_a_target_is_that_of_the_first_evaluation_at_it() {
    let mut only = variant(&MOBILLM, &[1]);
    let Outcome::Finished(run) = &mut only.runs[0].outcome else { unreachable!() };
    let epochs = run.epochs.clone();
    let second = epochs[1].eval.main().1;
    assert!(epochs[0].eval.main().1 < second);
    let compared = Comparison::new(vec![only], Target::Value(second), machine());
    let figures = &compared.figures.variants[0];
    let seconds = epochs[0].seconds + epochs[1].seconds;
    assert_eq!(figures.seconds_to_target.unwrap().mean, seconds);
    let bytes = epochs[0].bytes_up + epochs[1].bytes_up;
    assert_eq!(figures.bytes_up_to_target.unwrap().mean, bytes as f64);
}

#[test]
fn the_default_target_is_half_a_point_below_the_first_variant() {
    let compared = both(&[1, 2, 3]);
    let first = compared.figures.variants[0].score.unwrap().mean;
    assert_eq!(compared.figures.target, Some(first - 0.005));
    // Nothing to be below of, and no figure that pretends so.
    let mut variants = compared.variants;
    variants[0].runs = vec![failed(1, "x"), failed(2, "x")];
    let compared = compare(variants);
    assert_eq!(compared.figures.target, None);
    assert_eq!(compared.figures.variants[1].difference, None);
    assert!(!compared.table().contains("seconds to target"));
    assert!(compared.table().starts_with(
        "target: none: the final mean of mobillm less 0.5 points; no such run has finished\n"
    ));
}

#[test]
fn a_run_that_is_judged_by_another_metric_is_not_counted() {
    let mut variants = both(&[1, 2]).variants;
    let Outcome::Finished(run) = &mut variants[1].runs[0].outcome else { unreachable!() };
    run.eval.metric = "pearson".into();
    let compared = compare(variants);
    assert_eq!(compared.figures.variants[1].finished, 1);
    let [excluded] = &compared.figures.excluded[..] else { panic!("one run") };
    assert_eq!((excluded.variant.as_str(), excluded.seed), ("pae-mobillm", 1));
    assert!(excluded.reason.starts_with("it is judged by pearson, the first run by accuracy"));
}

#[test]
fn one_run_has_no_spread_and_no_difference() {
    let one = compare(vec![variant(&MOBILLM, &[7])]);
    let table = one.table();
    for absent in ["±", " to 0", "n =", "paired", "reference"] {
        assert!(!table.contains(absent), "{absent} in\n{table}");
    }
    assert!(!one.html().contains("differs"), "one config differs from nothing");
}

#[test]
fn a_regression_is_compared_by_its_correlation() {
    let mut only = variant(&MOBILLM, &[1]);
    let Outcome::Finished(run) = &mut only.runs[0].outcome else { unreachable!() };
    let scores = json!({"kind": "regression", "samples": 9, "mse": 0.4, "rmse": 0.63,
        "pearson": 0.81, "spearman": 0.8});
    for epoch in &mut run.epochs {
        epoch.eval = serde_json::from_value(scores.clone()).unwrap();
    }
    run.eval.metric = "pearson".into();
    run.eval.after = 0.81;
    (run.eval.macro_f1, run.eval.positive_f1) = (None, None);
    let compared = compare(vec![only]);
    assert_eq!(compared.figures.target, Some(0.81 - 0.005));
    assert_eq!(compared.figures.variants[0].reached, 1);
    let table = compared.table();
    assert!(table.contains("pearson before") && !table.contains("F1"), "{table}");
}
