use ndarray::{Array4, s};
use proptest::prelude::*;

use super::*;

/// One sample's query, key or value, `[tokens, heads, head_width]`, flat.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let uniform = |at: u64| {
        let bits = (at + 977 * seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bits = (bits ^ (bits >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (bits >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count as u64).map(uniform).collect()
}

#[derive(Debug, Clone)]
struct Case {
    heads: Heads,
    head_width: usize,
    lengths: Vec<usize>,
    frequencies: Option<Vec<f32>>,
}

fn case() -> impl Strategy<Value = Case> {
    let lengths = proptest::collection::vec(1usize..40, 1..4);
    (1usize..4, 1usize..3, any::<bool>(), 1usize..36, lengths, any::<bool>()).prop_map(
        |(shared, key_heads, causal, pairs, lengths, turns)| Case {
            heads: Heads { heads: shared * key_heads, key_heads, causal },
            head_width: 2 * pairs,
            lengths,
            frequencies: turns.then(|| values(pairs, 5)),
        },
    )
}

impl Case {
    /// `[batch, tokens, heads, head_width]`; what stands in padding is large.
    fn tensor(&self, heads: usize, tokens: usize, seed: u64) -> Array4<f32> {
        let width = self.head_width;
        let mut tensor = Array4::from_elem((self.lengths.len(), tokens, heads, width), 1e6);
        for (sample, &length) in self.lengths.iter().enumerate() {
            let row = values(length * heads * width, 31 * seed + sample as u64);
            let row = Array4::from_shape_vec((1, length, heads, width), row).unwrap();
            tensor.slice_mut(s![sample..=sample, ..length, .., ..]).assign(&row);
        }
        tensor
    }

    /// The samples padded to `tokens`, whose result is `[batch, tokens, heads, head_width]`.
    fn run(&self, isa: Isa, tokens: usize) -> Array4<f32> {
        let (query, key, value) = (
            self.tensor(self.heads.heads, tokens, 1),
            self.tensor(self.heads.key_heads, tokens, 2),
            self.tensor(self.heads.key_heads, tokens, 3),
        );
        let rotation = self.frequencies.as_ref().map(|frequencies| {
            let mut rotation = Rotation::default();
            // In two goes, as when a longer batch comes.
            rotation.reach(tokens / 2, frequencies);
            rotation.reach(tokens, frequencies);
            rotation
        });
        let attention = Attention {
            heads: self.heads,
            tokens,
            head_width: self.head_width,
            query: query.as_slice().unwrap(),
            key: key.as_slice().unwrap(),
            value: value.as_slice().unwrap(),
            lengths: (!self.heads.causal).then_some(&self.lengths),
            rotation: rotation.as_ref(),
        };
        attention.check().unwrap();
        let mut output = Array4::from_elem(query.dim(), f32::NAN);
        let shared = Shared::new(output.as_slice_mut().unwrap());
        for task in 0..attention.tasks() {
            // SAFETY: each task runs once, and the lengths were checked.
            unsafe { attention.run(isa, task, &shared) };
        }
        output
    }

    /// Head `head` of row `token` of sample `sample`, in f64, word by word as the formula says.
    fn expected(&self, sample: usize, token: usize, head: usize) -> Vec<f64> {
        let (length, width) = (self.lengths[sample], self.head_width);
        let key_head = head / (self.heads.heads / self.heads.key_heads);
        let row = |seed: u64, heads: usize, token: usize, head: usize| -> Vec<f64> {
            let all = values(length * heads * width, 31 * seed + sample as u64);
            let from = (token * heads + head) * width;
            all[from..from + width].iter().map(|&value| f64::from(value)).collect()
        };
        let turned = |row: Vec<f64>, position: usize| -> Vec<f64> {
            let Some(frequencies) = &self.frequencies else { return row };
            let half = width / 2;
            (0..width)
                .map(|at| {
                    let angle = position as f64 * f64::from(frequencies[at % half]);
                    let other = if at < half { -row[at + half] } else { row[at - half] };
                    row[at] * angle.cos() + other * angle.sin()
                })
                .collect()
        };
        let query = turned(row(1, self.heads.heads, token, head), token);
        let seen = if self.heads.causal { token + 1 } else { length };
        let weights = (0..seen).map(|other| {
            let key = turned(row(2, self.heads.key_heads, other, key_head), other);
            let score: f64 = query.iter().zip(key).map(|(q, k)| q * k).sum();
            (score / (width as f64).sqrt()).exp()
        });
        let weights: Vec<f64> = weights.collect();
        let mut mean = vec![0.0; width];
        for (other, weight) in weights.iter().enumerate() {
            let value = row(3, self.heads.key_heads, other, key_head);
            for (mean, value) in mean.iter_mut().zip(value) {
                *mean += weight / weights.iter().sum::<f64>() * value;
            }
        }
        mean
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn it_is_the_mean_of_values_by_softened_scores(case in case()) {
        let tokens = *case.lengths.iter().max().unwrap();
        for isa in Isa::available() {
            let output = case.run(isa, tokens);
            for (sample, &length) in case.lengths.iter().enumerate() {
                for (token, head) in [(0, 0), (length / 2, case.heads.heads - 1), (length - 1, 0)] {
                    let got = output.slice(s![sample, token, head, ..]);
                    let expected = case.expected(sample, token, head);
                    for (got, want) in got.iter().zip(&expected) {
                        prop_assert!((f64::from(*got) - want).abs() < 2e-5, "{isa:?}: {got} for {want}");
                    }
                }
            }
        }
    }

    #[test]
    fn neither_batch_mates_nor_padding_change_a_bit(case in case(), more in 0usize..40) {
        let tokens = *case.lengths.iter().max().unwrap() + more;
        for isa in Isa::available() {
            let together = case.run(isa, tokens);
            prop_assert!(together.iter().all(|value| !value.is_nan()));
            for (sample, &length) in case.lengths.iter().enumerate() {
                // The tensors' values depend on a sample's place: so the ones before it stay.
                let alone = Case { lengths: case.lengths[..=sample].to_vec(), ..case.clone() };
                let alone = alone.run(isa, *alone.lengths.iter().max().unwrap());
                let mine = s![sample, ..length, .., ..];
                prop_assert_eq!(together.slice(mine), alone.slice(mine));
            }
        }
    }
}

#[test]
fn lengths_that_do_not_agree_are_told() {
    let tensor = [0.0; 2 * 3 * 4 * 2];
    let heads = Heads { heads: 4, key_heads: 2, causal: true };
    let good = || Attention {
        heads,
        tokens: 3,
        head_width: 2,
        query: &tensor,
        key: &tensor[..24],
        value: &tensor[..24],
        lengths: None,
        rotation: None,
    };
    good().check().unwrap();
    let problem = |attention: Attention<'_>| attention.check().unwrap_err();
    let three = Heads { key_heads: 3, ..heads };
    assert!(problem(Attention { heads: three, ..good() }).contains("4 heads do not share 3"));
    assert!(problem(Attention { key: &tensor, ..good() }).contains("the key has 48"));
    assert!(problem(Attention { lengths: Some(&[3]), ..good() }).contains("2 samples"));
    let rotation = Rotation::default();
    assert!(problem(Attention { rotation: Some(&rotation), ..good() }).contains("half of 2"));
    let mut rotation = Rotation::default();
    rotation.reach(2, &[1.0]);
    assert!(problem(Attention { rotation: Some(&rotation), ..good() }).contains("3 positions"));
}
