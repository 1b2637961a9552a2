//! Laws of the side network slot.
//!
//! [`check`] holds them all against a config; each is also a function of its own:
//!
//! ```
//! let config = mobillm_adapter_candle::CandleSideNetworkConfig::default();
//! mobillm_testkit::side_network::check(&config);
//! ```
//!
//! The toy tasks ([`Toy`]) are small: three taps, ragged samples of 1 to 5 rows, and targets that a
//! direction in the middle tap decides.
#![expect(clippy::expect_used, reason = "a suite panics with the law that is broken")]

use mobillm_core::activations::{ActivationBatch, Layout};
use mobillm_core::backbone::Pooling;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::privacy::Supervision;
use mobillm_core::sample::Objective;
use mobillm_core::side_network::{
    Optimizer, SideNetwork, SideNetworkConfig, SideNetworkContext, SideNetworkError,
};

const TAPS: [usize; 3] = [0, 2, 5];
const HIDDEN: usize = 24;
const SAMPLES: usize = 12;

/// The objectives that a side network must take.
pub const OBJECTIVES: [Objective; 3] = [
    Objective::Classification { classes: 2 },
    Objective::Classification { classes: 3 },
    Objective::Regression,
];

/// Holds every law against the networks of `config`.
///
/// # Panics
/// With the law that is broken.
pub fn check(config: &dyn SideNetworkConfig) {
    for objective in OBJECTIVES {
        starts_at_zero(config, objective);
        learns(config, objective);
        repeats_itself(config, objective);
        goes_on_from_a_checkpoint(config, objective);
        loads_what_it_saved(config, objective);
    }
    ignores_rows_that_pooling_drops(config);
    takes_a_single_tap(config);
    refuses_batches_that_do_not_fit(config);
    refuses_damaged_files(config);
    stops_when_the_loss_is_no_number(config);
}

/// A small task and its context.
#[derive(Debug, Clone)]
pub struct Toy {
    /// What a network for it is built from.
    pub context: SideNetworkContext,
    state: u64,
}

impl Toy {
    /// The task of `objective`, to be trained in `steps` steps.
    pub fn new(objective: Objective, steps: u64) -> Self {
        let optimizer = Optimizer { learning_rate: 3e-3, ..Optimizer::default() };
        let context = SideNetworkContext {
            taps: TAPS.to_vec(),
            hidden: HIDDEN,
            pooling: Pooling::Mean,
            objective,
            optimizer,
            steps,
            seed: 17,
            bundle: Fingerprint::of(b"a toy bundle"),
        };
        Self { context, state: 1 }
    }

    /// The next batch: the same sequence of batches for every toy.
    ///
    /// The scale of a tap grows with its layer, as that of hidden states does.
    pub fn batch(&mut self) -> (ActivationBatch, Vec<Supervision>) {
        let counts: Vec<usize> = (0..SAMPLES).map(|_| 1 + (self.next() * 5.0) as usize).collect();
        let layout = Layout::from_counts(counts.iter().copied());
        let hidden = self.context.hidden;
        let scales: Vec<f32> =
            self.context.taps.iter().map(|&layer| 10.0_f32.powi(layer as i32 / 2)).collect();
        let mut noise = |scale: &f32| {
            (0..layout.rows() * hidden).map(|_| scale * (2.0 * self.next() - 1.0)).collect()
        };
        let mut taps: Vec<Vec<f32>> = scales.iter().map(&mut noise).collect();
        let middle = taps.len() / 2;
        let mut supervision = Vec::new();
        for sample in 0..SAMPLES {
            let wanted = self.next();
            for row in layout.range(sample) {
                // the direction is the first three values, one for each class
                for (index, value) in taps[middle][row * hidden..][..3].iter_mut().enumerate() {
                    *value = scales[middle] * self.signal(index, wanted);
                }
            }
            supervision.push(self.target(wanted));
        }
        (ActivationBatch::new(layout, hidden, taps).expect("the toy's own shapes"), supervision)
    }

    fn target(&self, wanted: f32) -> Supervision {
        match self.context.objective {
            Objective::Classification { classes } => {
                Supervision::Label((wanted * classes as f32) as u32)
            }
            Objective::Regression => Supervision::Value(2.0 * wanted - 1.0),
        }
    }

    fn signal(&self, index: usize, wanted: f32) -> f32 {
        match self.target(wanted) {
            Supervision::Label(class) if class as usize == index => 3.0,
            Supervision::Label(_) => 0.0,
            _ => 2.0 * (2.0 * wanted - 1.0) * (index as f32 - 1.0),
        }
    }

    /// Uniform in 0..1 (splitmix64).
    fn next(&mut self) -> f32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1 << 24) as f32
    }
}

/// Builds the network of `toy`.
fn build(config: &dyn SideNetworkConfig, toy: &Toy) -> Box<dyn SideNetwork> {
    let found = config.check(&toy.context);
    assert!(found.is_empty(), "`check` finds fault with a good context: {found:?}");
    config.build(&toy.context).expect("a good context builds")
}

/// Trains `network` for `steps` steps on the next batches of `toy`; the losses.
pub fn train(network: &mut dyn SideNetwork, toy: &mut Toy, steps: u64) -> Vec<f32> {
    let step = |_| {
        let (batch, supervision) = toy.batch();
        network.train_step(&batch, &supervision).expect("the toy's batches fit").loss
    };
    (0..steps).map(step).collect()
}

/// Before the first step the output is exactly zero, and the info tells the truth.
pub fn starts_at_zero(config: &dyn SideNetworkConfig, objective: Objective) {
    let mut toy = Toy::new(objective, 10);
    let network = build(config, &toy);
    let info = network.info();
    assert_eq!((&info.taps[..], info.hidden, info.objective), (&TAPS[..], HIDDEN, objective));
    assert_eq!(info.bundle, toy.context.bundle);
    let outputs = network.predict(&toy.batch().0).expect("the toy's batches fit");
    assert_eq!(outputs.dim(), (SAMPLES, objective.outputs()), "the shape of the output");
    assert!(outputs.iter().all(|&value| value == 0.0), "the output starts at zero: {outputs}");
}

/// The loss falls, and the reports follow the schedule.
pub fn learns(config: &dyn SideNetworkConfig, objective: Objective) {
    let mut toy = Toy::new(objective, 150);
    let mut network = build(config, &toy);
    let losses = train(&mut *network, &mut toy, 149);
    let (batch, supervision) = toy.batch();
    let report = network.train_step(&batch, &supervision).expect("the toy's batches fit");
    assert_eq!(report.step, 149, "steps are counted from 0");
    assert_eq!(report.learning_rate, toy.context.optimizer.learning_rate_at(149, 150));
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    let (first, last) = (mean(&losses[..10]), mean(&losses[139..]));
    assert!(last < 0.5 * first, "{objective:?}: the loss falls: {first} to {last}");
}

/// Equal seeds and batches give equal bits; another seed gives another network.
pub fn repeats_itself(config: &dyn SideNetworkConfig, objective: Objective) {
    let run = |seed| {
        let mut toy = Toy::new(objective, 10);
        toy.context.seed = seed;
        let mut network = build(config, &toy);
        let losses = train(&mut *network, &mut toy, 10);
        (losses, network.adapter().expect("an adapter"), network.checkpoint().expect("one"))
    };
    let (once, again) = (run(17), run(17));
    assert_eq!(once.0, again.0, "equal seeds and batches give equal losses");
    assert!(once.1 == again.1 && once.2 == again.2, "equal seeds and batches give equal bytes");
    assert!(once.1 != run(18).1, "the seed decides the initial weights");
}

/// Saving, restoring and going on equals going on, to the bit.
pub fn goes_on_from_a_checkpoint(config: &dyn SideNetworkConfig, objective: Objective) {
    let mut toy = Toy::new(objective, 20);
    let mut network = build(config, &toy);
    let mut other = build(config, &toy);
    train(&mut *network, &mut toy, 7);
    let checkpoint = network.checkpoint().expect("a checkpoint");
    let mut same_toy = toy.clone();
    let losses = train(&mut *network, &mut toy, 13);
    train(&mut *other, &mut Toy::new(objective, 20), 3);
    other.restore(&checkpoint).expect("a network of the same context takes the checkpoint");
    assert!(other.checkpoint().expect("one") == checkpoint, "a checkpoint survives restoring");
    assert_eq!(train(&mut *other, &mut same_toy, 13), losses, "going on equals not stopping");
    assert!(other.adapter().expect("one") == network.adapter().expect("one"));

    let mut longer = toy.clone();
    longer.context.steps += 1;
    let error = build(config, &longer).restore(&checkpoint).expect_err("it is of another run");
    assert!(error.to_string().contains("steps"), "the error names what differs: {error}");
}

/// What an adapter file holds predicts as what was trained, to the bit, and does not train.
pub fn loads_what_it_saved(config: &dyn SideNetworkConfig, objective: Objective) {
    let mut toy = Toy::new(objective, 20);
    let mut network = build(config, &toy);
    train(&mut *network, &mut toy, 20);
    let adapter = network.adapter().expect("an adapter");
    let mut loaded = config.load(&adapter).expect("its own adapter");
    let (batch, supervision) = toy.batch();
    let outputs = network.predict(&batch).expect("the toy's batches fit");
    assert!(outputs.iter().any(|&value| value != 0.0), "twenty steps change the output");
    assert_eq!(loaded.predict(&batch).expect("the same"), outputs);
    assert_eq!(loaded.info(), network.info());
    assert!(loaded.adapter().expect("one") == adapter, "an adapter survives loading");
    assert!(loaded.train_step(&batch, &supervision).is_err(), "a loaded network only predicts");
}

/// With one token pooled, the other tokens change nothing (per-token adapters do not mix tokens), so
/// that a selector that drops them loses nothing. Networks that mix tokens skip this law.
pub fn ignores_rows_that_pooling_drops(config: &dyn SideNetworkConfig) {
    for pooling in [Pooling::FirstToken, Pooling::LastToken] {
        let mut toy = Toy::new(OBJECTIVES[0], 10);
        toy.context.pooling = pooling;
        let (mut all, mut one) = (build(config, &toy), build(config, &toy));
        for _ in 0..10 {
            let (batch, supervision) = toy.batch();
            let alone = only_pooled(&batch, pooling);
            let loss = all.train_step(&batch, &supervision).expect("it fits").loss;
            assert_eq!(one.train_step(&alone, &supervision).expect("it fits").loss, loss);
        }
        assert!(one.adapter().expect("one") == all.adapter().expect("one"), "{pooling:?}");
    }
}

fn only_pooled(batch: &ActivationBatch, pooling: Pooling) -> ActivationBatch {
    let (layout, hidden) = (batch.layout(), batch.hidden());
    let kept = |sample| match pooling {
        Pooling::LastToken => layout.range(sample).end - 1,
        _ => layout.range(sample).start,
    };
    let rows = |tap: usize| {
        let row = move |sample| batch.tap(tap)[kept(sample) * hidden..][..hidden].to_vec();
        (0..layout.samples()).flat_map(row).collect()
    };
    let taps = (0..batch.taps()).map(rows).collect();
    let alone = Layout::from_counts(vec![1; layout.samples()]);
    ActivationBatch::new(alone, hidden, taps).expect("one row for each sample")
}

/// One tapped layer is enough.
pub fn takes_a_single_tap(config: &dyn SideNetworkConfig) {
    let mut toy = Toy::new(OBJECTIVES[0], 100);
    toy.context.taps = vec![4];
    let mut network = build(config, &toy);
    let losses = train(&mut *network, &mut toy, 100);
    assert!(losses[99] < 0.5 * losses[0], "the loss falls: {} to {}", losses[0], losses[99]);
    let checkpoint = network.checkpoint().expect("a checkpoint");
    network.restore(&checkpoint).expect("its own checkpoint");
}

/// A batch that does not fit is an error of its own, and leaves the network as it was.
pub fn refuses_batches_that_do_not_fit(config: &dyn SideNetworkConfig) {
    let mut toy = Toy::new(OBJECTIVES[1], 10);
    let mut network = build(config, &toy);
    let (batch, supervision) = toy.batch();
    let before = network.checkpoint().expect("a checkpoint");
    let zeros = |counts: &[usize], hidden: usize, taps: usize| {
        let layout = Layout::from_counts(counts.iter().copied());
        let tap = vec![0.0; layout.rows() * hidden];
        ActivationBatch::new(layout, hidden, vec![tap; taps]).expect("shapes fit")
    };
    let one = [Supervision::Label(0)];
    let label = |index: usize, wrong: Supervision| {
        let mut supervision = supervision.clone();
        supervision[index] = wrong;
        supervision
    };
    let cases = [
        (zeros(&[1], HIDDEN, 2), one.to_vec(), "too few taps"),
        (zeros(&[1], HIDDEN + 1, 3), one.to_vec(), "rows that are too wide"),
        (zeros(&[0], HIDDEN, 3), one.to_vec(), "a sample without rows"),
        (zeros(&[], HIDDEN, 3), Vec::new(), "no samples"),
        (batch.clone(), supervision[1..].to_vec(), "too few targets"),
        (batch.clone(), label(5, Supervision::Label(3)), "a label out of range"),
        (batch.clone(), label(5, Supervision::Value(0.5)), "a value for a class"),
    ];
    for (batch, supervision, what) in cases {
        let result = network.train_step(&batch, &supervision);
        assert!(matches!(result, Err(SideNetworkError::Batch { .. })), "{what}: {result:?}");
    }
    let result = network.predict(&zeros(&[1], HIDDEN, 2));
    assert!(matches!(result, Err(SideNetworkError::Batch { .. })), "predict too: {result:?}");
    assert!(network.checkpoint().expect("one") == before, "a refused batch changes nothing");

    let mut regression = build(config, &Toy::new(Objective::Regression, 10));
    for wrong in [Supervision::Label(1), Supervision::Value(f32::NAN)] {
        let result = regression.train_step(&zeros(&[1], HIDDEN, 3), &[wrong]);
        assert!(matches!(result, Err(SideNetworkError::Batch { .. })), "{result:?}");
    }
}

/// Files that are cut, changed in kind or of another network are refused, and change nothing.
pub fn refuses_damaged_files(config: &dyn SideNetworkConfig) {
    let mut toy = Toy::new(OBJECTIVES[0], 10);
    let mut network = build(config, &toy);
    train(&mut *network, &mut toy, 2);
    let (adapter, checkpoint) =
        (network.adapter().expect("one"), network.checkpoint().expect("one"));
    let refused = |result: Result<(), SideNetworkError>, what: &str| {
        assert!(matches!(result, Err(SideNetworkError::Adapter { .. })), "{what}: {result:?}");
    };
    for length in [0, 7, 8, 100, adapter.len() / 2, adapter.len() - 1] {
        refused(config.load(&adapter[..length]).map(drop), "a cut adapter");
        refused(network.restore(&checkpoint[..length]), "a cut checkpoint");
    }
    refused(config.load(&checkpoint).map(drop), "a checkpoint for an adapter");
    refused(network.restore(&adapter), "an adapter for a checkpoint");
    let other = build(config, &Toy::new(OBJECTIVES[1], 10)).checkpoint().expect("one");
    refused(network.restore(&other), "a checkpoint of another network");
    assert!(network.checkpoint().expect("one") == checkpoint, "a refused file changes nothing");
}

/// A loss that is no number is an error and changes nothing.
pub fn stops_when_the_loss_is_no_number(config: &dyn SideNetworkConfig) {
    let mut toy = Toy::new(OBJECTIVES[0], 10);
    let mut network = build(config, &toy);
    train(&mut *network, &mut toy, 2);
    let before = network.checkpoint().expect("a checkpoint");
    let (batch, supervision) = toy.batch();
    let mut taps: Vec<Vec<f32>> = (0..batch.taps()).map(|tap| batch.tap(tap).to_vec()).collect();
    taps[1][3] = f32::NAN;
    let broken = ActivationBatch::new(batch.layout().clone(), HIDDEN, taps).expect("shapes fit");
    let result = network.train_step(&broken, &supervision);
    assert!(matches!(result, Err(SideNetworkError::Diverged { step: 2, .. })), "{result:?}");
    assert!(network.checkpoint().expect("one") == before, "a diverged step changes nothing");
}
