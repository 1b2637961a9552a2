//! SST-2: what int8 does to the model's own answers, and what fine-tuning comes to.

use std::path::{Path, PathBuf};

use mobillm::config::Config;
use mobillm::device::taps::MicroBatch;
use mobillm::pipeline::{self, RunOptions, prepare};
use mobillm::trained::Trained;
use mobillm_core::backbone::Tokens;
use mobillm_core::privacy::Purpose;
use mobillm_core::sample::{SampleId, Truth};
use mobillm_task::Scores;
use mobillm_task::metrics::{ClassificationScores, RegressionScores};
use mobillm_weights::WeightFormat;
use tempfile::TempDir;

use super::model::Model;
use crate::Error;
use crate::figure::Figure;
use crate::pipeline::unobserved;

/// Where GLUE's SST-2 is looked for, unless `MOBILLM_SST2` names another folder: beside the checkout.
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/glue/SST-2");
const CONFIGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/configs");
const SEEDS: u64 = 3;

/// The folder with train.tsv, dev.tsv and test-labeled.tsv, if it is there.
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("MOBILLM_SST2").map_or_else(|| DATA.into(), PathBuf::from);
    folder.join("dev.tsv").exists().then_some(folder)
}

/// All of them, or why they were not measured.
pub fn figures(model: &Model) -> Result<Vec<Figure>, Error> {
    let variants = [("smollm2-sst2-pae-mobillm", 83.0), ("smollm2-sst2-pooling", 84.5)];
    let named = |name: &str| format!("SST-2, dev and labelled test, {name}");
    let zero_shot = "zero-shot accuracy on SST-2's dev, int8 less f32";
    let Some(data) = data() else {
        let why = "SST-2 is not beside the checkout; MOBILLM_SST2 names its folder";
        let names = variants.map(|(name, _)| named(name));
        let all = [zero_shot.to_owned()].into_iter().chain(names);
        return Ok(all.map(|figure| Figure::unmeasured(figure, why)).collect());
    };
    let single = own_accuracy(model, &data, WeightFormat::F32)?;
    let int8 = own_accuracy(model, &data, WeightFormat::Int8)?;
    let mut figures = vec![
        Figure::new("zero-shot accuracy on SST-2's dev, f32", single, "%")
            .at_least(77.4)
            .note("77.9 was seen with transformers; one sentence is 0.11 points"),
        Figure::new(zero_shot, int8 - single, "points")
            .at_least(-0.5)
            .note(format!("{int8:.2} and {single:.2} %, without any training")),
    ];
    for (name, goal) in variants {
        let runs = (0..SEEDS).map(|seed| tuned(model, &data, name, seed));
        let scores = runs.collect::<Result<Vec<_>, Error>>()?;
        let mean = |of: fn(&Tuned) -> f64| scores.iter().map(of).sum::<f64>() / SEEDS as f64;
        let seeds: Vec<String> = scores.iter().map(|tuned| format!("{:.2}", tuned.both)).collect();
        figures.push(Figure::new(named(name), mean(|tuned| tuned.both), "%").at_least(goal).note(
            format!(
                "2,000 training rows, mean of {SEEDS} seeds ({}); dev {:.2}, test {:.2}",
                seeds.join(", "),
                mean(|tuned| tuned.dev),
                mean(|tuned| tuned.test)
            ),
        ));
    }
    Ok(figures)
}

/// How many rows were scored.
fn rows(scores: &Scores) -> f64 {
    let (Scores::Classification(ClassificationScores { samples, .. })
    | Scores::Regression(RegressionScores { samples, .. })) = scores;
    *samples as f64
}

fn sets(data: &Path) -> [String; 2] {
    let file = |name: &str| data.join(name).display().to_string();
    [format!("task.train={}", file("train.tsv")), format!("task.held_out={}", file("dev.tsv"))]
}

/// How often the model's own prediction is right on dev, in percent.
fn own_accuracy(model: &Model, data: &Path, format: WeightFormat) -> Result<f64, Error> {
    let mut sets = sets(data).to_vec();
    sets.push(format!("device.bundle=pull:smollm2-135m-instruct@{format}"));
    let config = Path::new(CONFIGS).join("smollm2-sst2-pae-mobillm.toml");
    let loaded = Config::load(&config, &sets, &model.environment.registry)?;
    let (assembly, prepared) = prepare(&loaded, &model.environment, &unobserved())?;
    let own = assembly.own(Vec::new());
    let mut path = assembly.tap_path(&loaded.config, &model.environment, own)?;
    let rows = &prepared.held_out;
    let all = (0..rows.tokens.len()).collect();
    let mut right = 0;
    for chunk in loaded.config.device.micro_batch().cut(all, |row| rows.tokens[row].ids.len()) {
        let tokens: Vec<&Tokens> = chunk.iter().map(|&row| &rows.tokens[row]).collect();
        let samples: Vec<SampleId> = (0..tokens.len() as u64).map(SampleId).collect();
        let batch = MicroBatch { tokens: &tokens, samples: &samples, purpose: Purpose::Predict };
        let own = path.forward(&batch, &mut |_, _| Ok(()))?;
        for (scores, row) in own.rows().into_iter().zip(chunk) {
            let answer = u32::from(scores[1] > scores[0]);
            right += usize::from(rows.truths[row] == Truth::Class(answer));
        }
    }
    Ok(100.0 * right as f64 / rows.tokens.len() as f64)
}

/// Accuracies in percent.
struct Tuned {
    dev: f64,
    test: f64,
    both: f64,
}

fn tuned(model: &Model, data: &Path, name: &str, seed: u64) -> Result<Tuned, Error> {
    eprintln!("{name}, seed {seed}");
    let folder = TempDir::new()?;
    let mut sets = sets(data).to_vec();
    sets.push(format!("training.seed={seed}"));
    let config = Path::new(CONFIGS).join(format!("{name}.toml"));
    let loaded = Config::load(&config, &sets, &model.environment.registry)?;
    let options = RunOptions {
        out: folder.path().join("run"),
        variant: name.to_owned(),
        fresh: false,
        leave: false,
    };
    pipeline::run(&loaded, &model.environment, &options, &unobserved())?;
    let mut trained = Trained::open(&options.out, &model.environment)?;
    let mut score = |file: &str| trained.evaluate(&data.join(file), &unobserved());
    let (dev, test) = (score("dev.tsv")?, score("test-labeled.tsv")?);
    let percent = |scores: &Scores| 100.0 * scores.main().1;
    // Each row of both files counts once.
    let (rows, more) = (rows(&dev), rows(&test));
    let both = (rows * percent(&dev) + more * percent(&test)) / (rows + more);
    Ok(Tuned { dev: percent(&dev), test: percent(&test), both })
}
