//! Rows to tokens, before anything is loaded that is large.

use std::fmt;
use std::path::{Path, PathBuf};

use mobillm_core::backbone::Tokens;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::sample::Truth;
use mobillm_core::selector::Selector;
use mobillm_task::error::Place;
use mobillm_task::report::{Balance, PartReport};
use mobillm_task::schedule::Sizes;
use mobillm_task::{DataReport, Dataset, Row, Schedule};
use mobillm_wire::handshake::Work;
use serde::Serialize;

use crate::device::RowTokenizer;
use crate::error::{Asked, RunError};
use crate::progress::{News, Phase, Watch};

/// Rows as the backbone takes them.
pub struct Tokenized {
    /// The tokens of each row.
    pub tokens: Vec<Tokens>,
    /// The truth of each row.
    pub truths: Vec<Truth>,
    /// The file that they are of.
    pub file: PathBuf,
    /// Where each row is in there.
    pub places: Vec<Place>,
    /// Rows of which some tokens had to be cut off.
    pub truncated: usize,
}

impl Tokenized {
    /// What a message calls the row of this index.
    pub fn asked(&self, row: usize) -> Asked {
        Asked::Row { file: self.file.clone(), place: self.places[row] }
    }
}

/// Everything that a device needs to know of its data.
pub struct Prepared {
    /// Rows to train on.
    pub train: Tokenized,
    /// Rows to evaluate on.
    pub held_out: Tokenized,
    /// Which rows make which step.
    pub schedule: Schedule,
    /// Names the rows and their split.
    pub fingerprint: Fingerprint,
    /// What the data is like.
    pub report: PreparedReport,
}

impl Prepared {
    /// How much there is to train on, if `selector` chooses what is sent.
    pub fn work(&self, selector: &dyn Selector) -> Work {
        let train = &self.train.tokens;
        Work {
            samples: train.len() as u64,
            rows: train.iter().map(|tokens| selector.rows(tokens.ids.len()) as u64).sum(),
            steps_per_epoch: self.schedule.steps_per_epoch(),
        }
    }
}

/// What the data is like, as the model sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PreparedReport {
    /// Rows, duplicates, balance.
    pub data: DataReport,
    /// Token lengths of the training rows.
    pub train_tokens: Lengths,
    /// Token lengths of the held-out rows.
    pub held_out_tokens: Lengths,
}

/// Token lengths, special tokens counted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Lengths {
    /// Tokens of all rows together.
    pub total: u64,
    /// Mean per row.
    pub mean: f64,
    /// Half of the rows are at most this long.
    pub median: usize,
    /// 95% of the rows are at most this long.
    pub p95: usize,
    /// The longest row.
    pub longest: usize,
    /// Rows of which some tokens were cut off.
    pub truncated: usize,
}

impl Lengths {
    fn of(rows: &Tokenized) -> Self {
        let mut lengths: Vec<usize> = rows.tokens.iter().map(|tokens| tokens.ids.len()).collect();
        lengths.sort_unstable();
        let total: usize = lengths.iter().sum();
        let quantile = |share: f64| {
            let rank = (share * lengths.len() as f64).ceil() as usize;
            lengths.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        Self {
            total: total as u64,
            mean: total as f64 / lengths.len().max(1) as f64,
            median: quantile(0.5),
            p95: quantile(0.95),
            longest: quantile(1.0),
            truncated: rows.truncated,
        }
    }
}

impl fmt::Display for PreparedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("training", &self.data.train, &self.train_tokens),
            ("held out", &self.data.held_out, &self.held_out_tokens),
        ];
        for (name, part, tokens) in parts {
            let Lengths { mean, median, p95, longest, .. } = tokens;
            writeln!(
                f,
                "{name}  {} rows: {}; tokens: mean {mean:.1}, median {median}, 95% {p95}, longest \
                 {longest}",
                part.rows,
                balance(part)
            )?;
        }
        let train = &self.data.train_file;
        write!(f, "of {} rows read, {} texts are distinct", train.rows, train.distinct)
    }
}

fn balance(part: &PartReport) -> String {
    match &part.balance {
        Balance::Labels(counts) => {
            let share = |rows: usize| 100.0 * rows as f64 / part.rows.max(1) as f64;
            let counts: Vec<String> = counts
                .iter()
                .map(|count| format!("{} {} ({:.1}%)", count.label, count.rows, share(count.rows)))
                .collect();
            counts.join(", ")
        }
        Balance::Targets { smallest, mean, largest } => {
            format!("targets {smallest} to {largest}, mean {mean:.3}")
        }
    }
}

/// Cuts `dataset` into tokens and lays out the steps.
///
/// # Errors
/// If a text cannot be cut into tokens.
pub fn prepare(
    dataset: Dataset,
    tokenizer: &RowTokenizer,
    seed: u64,
    sizes: Sizes,
    watch: &Watch<'_>,
) -> Result<Prepared, RunError> {
    let total = (dataset.train.len() + dataset.held_out.len()) as u64;
    watch.begin(Phase::Tokenize, total, 0);
    let Dataset { train, held_out, train_path, held_out_path, .. } = &dataset;
    let train = tokenize(train_path, train, tokenizer, 0, watch)?;
    let held_out = tokenize(held_out_path, held_out, tokenizer, train.tokens.len(), watch)?;
    watch.end(Phase::Tokenize);
    for (part, rows) in [("training", &train), ("held-out", &held_out)] {
        if rows.truncated > 0 {
            let message = format!(
                "{} {part} rows are longer than the model takes and were truncated",
                rows.truncated
            );
            watch.news(News::Warning { message });
        }
    }
    for message in &dataset.report.warnings {
        watch.news(News::Warning { message: message.clone() });
    }
    let report = PreparedReport {
        data: dataset.report,
        train_tokens: Lengths::of(&train),
        held_out_tokens: Lengths::of(&held_out),
    };
    watch.news(News::Note { message: report.to_string() });
    let lengths = train.tokens.iter().map(|tokens| tokens.ids.len()).collect();
    let schedule = Schedule::new(seed, lengths, sizes);
    Ok(Prepared { train, held_out, schedule, fingerprint: dataset.fingerprint, report })
}

/// Cuts the `rows` of `file` into tokens; `done` rows were before them.
///
/// # Errors
/// If a text cannot be cut into tokens or the run is to stop.
pub fn tokenize(
    file: &Path,
    rows: &[Row],
    tokenizer: &RowTokenizer,
    done: usize,
    watch: &Watch<'_>,
) -> Result<Tokenized, RunError> {
    const ROWS_BETWEEN_LOOKS: usize = 256;
    let mut tokenized = Tokenized {
        tokens: Vec::new(),
        truths: Vec::new(),
        file: file.to_owned(),
        places: Vec::new(),
        truncated: 0,
    };
    for (at, row) in rows.iter().enumerate() {
        if at % ROWS_BETWEEN_LOOKS == 0 {
            watch.check()?;
            watch.advance(Phase::Tokenize, (done + at) as u64);
        }
        let encoded = tokenizer.encode(&row.text, row.pair.as_deref())?;
        tokenized.truncated += usize::from(encoded.truncated > 0);
        tokenized.tokens.push(encoded.tokens);
        tokenized.truths.push(row.truth);
        tokenized.places.push(row.place);
    }
    Ok(tokenized)
}
