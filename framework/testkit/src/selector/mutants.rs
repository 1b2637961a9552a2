//! The suite passes sound selectors and finds each way to break one.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

use mobillm_core::activations::Layout;
use mobillm_core::selector::SelectorError;
use ndarray::ArrayView2;

use super::*;
use crate::law::Verdict;

/// A selector of all tokens, or of one row a sample, that breaks one law at a time.
struct Toy(&'static str);

/// Counts the draws of toys that draw their token anew.
static DRAWS: AtomicUsize = AtomicUsize::new(0);

impl Toy {
    /// The positions of a sample of `tokens` tokens.
    fn positions(&self, tokens: usize) -> std::ops::Range<usize> {
        match self.0 {
            "drawn" | "drawn in secret" if tokens > 0 => {
                let drawn = DRAWS.fetch_add(1, Ordering::Relaxed) % tokens;
                drawn..drawn + 1
            }
            "last" | "off by one" => tokens.saturating_sub(1)..tokens,
            "mean" | "sum" | "mean over padding" | "last in secret" | "coarse" => 0..tokens.min(1),
            _ => 0..tokens,
        }
    }

    fn row(&self, tokens: ArrayView2<'_, f32>, position: usize, length: usize) -> Vec<f32> {
        let own = tokens.slice(s![..length, ..]);
        let mean = |of: ArrayView2<'_, f32>| {
            of.columns().into_iter().map(|channel| channel.sum() / channel.len() as f32).collect()
        };
        match self.0 {
            "mean" => mean(own),
            "mean over padding" => mean(tokens),
            "sum" => own.columns().into_iter().map(|channel| channel.sum()).collect(),
            "blend" => mean(own.slice(s![position.saturating_sub(1)..=position, ..])),
            "off by one" => tokens.row(position.saturating_sub(1)).to_vec(),
            "last in secret" => tokens.row(length - 1).to_vec(),
            // Lies between the first two tokens, and stays there when one of them moves.
            "coarse" if length > 1 => {
                tokens.row(position).mapv(|value| (value / 100.0).floor() * 100.0 + 50.0).to_vec()
            }
            _ => tokens.row(position).to_vec(),
        }
    }
}

impl Selector for Toy {
    fn layers(&self, info: &BackboneInfo) -> Vec<usize> {
        match self.0 {
            "restless" => vec![DRAWS.fetch_add(1, Ordering::Relaxed) % (info.layers + 1)],
            "none" => Vec::new(),
            "descending" => vec![info.layers, info.layers - 1],
            "beyond" => vec![info.layers + 1],
            _ => vec![info.layers],
        }
    }

    fn is_fixed(&self) -> bool {
        self.0 != "drawn"
    }

    fn rows(&self, tokens: usize) -> usize {
        if self.0 == "count" { tokens + 1 } else { self.positions(tokens).len() }
    }

    fn select(&self, tap: &Tap<'_>, memory: Vec<f32>) -> Result<Selected, SelectorError> {
        let (batch, tokens, hidden) = tap.hidden.dim();
        let longest = tap.lengths.iter().max().copied().unwrap_or(0);
        if self.0 != "unchecked" && (batch != tap.lengths.len() || longest > tokens) {
            return Err(SelectorError::Tap { layer: tap.layer, problem: "it differs".into() });
        }
        let mut values = if self.0 == "memory" { memory } else { Vec::new() };
        let mut layout = Layout::empty();
        for (sample, &length) in tap.hidden.outer_iter().zip(tap.lengths) {
            let length = match self.0 {
                "padding" => tokens,
                "mates" => longest.min(length + batch - 1).min(tokens),
                "by value" if sample.iter().any(|value| *value < 0.0) => length.min(1),
                _ => length.min(tokens),
            };
            let positions = self.positions(length);
            layout.push(positions.clone().map(|position| position as u32));
            positions.for_each(|position| values.extend(self.row(sample, position, length)));
        }
        Ok(Selected::new(tap.layer, layout, hidden, values)?)
    }
}

fn all_laws(toy: &'static str) {
    hold_all(&suite(|_| Ok(Box::new(Toy(toy)))));
}

#[test]
fn sound_selectors_pass() {
    ["all", "last", "last in secret", "mean", "drawn"].into_iter().for_each(all_laws);
}

#[test]
fn each_fault_breaks_its_law() {
    for (fault, law) in [
        ("none", "at least one"),
        ("descending", "layers are ascending"),
        ("beyond", "within"),
        ("restless", "stay the same"),
        ("count", "how many rows"),
        ("padding", "how many rows"),
        ("mates", "how many rows"),
        ("sum", "lies among the tokens"),
        ("mean over padding", "lies among the tokens"),
        ("blend", "where every token has a row"),
        ("off by one", "follows the token at its position"),
        ("coarse", "follows one of its tokens"),
        ("drawn in secret", "batch mates"),
        ("by value", "share a layout"),
        ("memory", "old memory"),
        ("unchecked", "lengths"),
    ] {
        let panic = catch_unwind(|| all_laws(fault)).expect_err(fault);
        let message = match panic.downcast_ref::<&str>() {
            Some(message) => message,
            None => panic.downcast_ref::<String>().unwrap().as_str(),
        };
        assert!(message.contains(law), "{fault}: {law:?} is not in: {message}");
    }
}

#[test]
fn a_config_that_finds_fault_is_told_by_its_findings() {
    let laws = suite(|_| Err(vec![Diagnostic::new("every", "expected at least 13 layers")]));
    let Verdict::Broken(reason) = laws[0].run() else { panic!("it is kept") };
    assert!(reason.contains("at least 13 layers"), "{reason}");
}

#[test]
fn what_is_drawn_is_not_compared_with_itself() {
    let exempt = |law: &Law<'_>| matches!(law.run(), Verdict::Exempt(_));
    let laws = suite(|_| Ok(Box::new(Toy("drawn"))));
    assert_eq!(laws.iter().map(exempt).collect::<Vec<_>>(), [[false; 4], [true; 4]].concat());
}
