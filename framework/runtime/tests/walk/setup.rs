//! A tiny bundle, a toy task, and a config over both.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use mobillm::config::{Config, Loaded};
use mobillm::pipeline::RunOptions;
use mobillm::progress::{News, Observer, Watch};
use mobillm::run::summary::Summary;
use mobillm::{Environment, RunError, Stop};
use mobillm_bundle::fixture::TinyBert;
use mobillm_core::registry::Registry;
use mobillm_testkit::fakes::FakeBackboneConfig;
use tempfile::TempDir;

/// A folder with everything that a run needs.
pub struct Setup {
    pub folder: TempDir,
    pub environment: Environment,
}

pub fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.register::<FakeBackboneConfig>("testkit").unwrap();
    mobillm_selectors::register(&mut registry).unwrap();
    mobillm_privacy::register(&mut registry).unwrap();
    mobillm_quantizers::register(&mut registry).unwrap();
    mobillm_transport_in_memory::register(&mut registry).unwrap();
    mobillm_transport_tcp::register(&mut registry).unwrap();
    mobillm_adapter_candle::register(&mut registry).unwrap();
    registry
}

/// Texts of known words; "good" makes one positive, "bad" negative.
pub fn toy_rows(rows: usize) -> String {
    let words = ["a", "b", "the", "tap", "layer", "gets", "out", "early"];
    let mut data = String::from("text\tmood\n");
    for row in 0..rows {
        let mood = row % 2;
        let mut text = Vec::new();
        for at in 0..1 + row % 5 {
            text.push(words[(row * 7 + at * (row / 8 + 3)) % words.len()].to_owned());
        }
        text.insert(row % text.len(), ["bad", "good"][mood].to_owned());
        // A number makes every text a distinct one; the tokenizer does not know it.
        text.push(row.to_string());
        writeln!(data, "{}\t{}", text.join(" "), ["sad", "happy"][mood]).unwrap();
    }
    data
}

impl Setup {
    pub fn new() -> Self {
        Self::of(&TinyBert::default())
    }

    pub fn of(bert: &TinyBert) -> Self {
        let folder = tempfile::tempdir().unwrap();
        bert.bundle(&folder.path().join("bundle")).unwrap();
        fs::write(folder.path().join("toy.tsv"), toy_rows(60)).unwrap();
        Self { folder, environment: Environment::new(registry()) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn load(&self, sets: &[&str]) -> Loaded {
        self.load_text(&self.config_text(), sets)
    }

    pub fn load_text(&self, text: &str, sets: &[&str]) -> Loaded {
        let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        Config::from_toml(text, self.folder.path(), &sets, &self.environment.registry).unwrap()
    }

    pub fn config_text(&self) -> String {
        r#"
            schema = 1
            [task]
            name = "toy"
            train = "toy.tsv"
            columns = { text = "text", label = "mood" }
            labels = ["sad", "happy"]
            positive = "happy"
            [device]
            bundle = "bundle"
            micro_batch = 5
            window = 3
            backbone = { type = "fake", layers = 3, hidden = 16 }
            [link]
            ahead = 4
            [server]
            checkpoint_steps = 4
            side_network = { type = "candle", architecture = { type = "parallel-adapter", rank = 8 } }
            [training]
            epochs = 4
            batch = 4
            optimizer = { learning_rate = 0.02 }
        "#
        .to_owned()
    }

    pub fn options(&self, out: &str) -> RunOptions {
        RunOptions { out: self.path(out), variant: "toy".into(), fresh: false, leave: false }
    }

    pub fn run(&self, sets: &[&str], out: &str) -> Result<Summary, RunError> {
        self.run_watched(sets, out, &Notes::default())
    }

    pub fn run_watched(
        &self,
        sets: &[&str],
        out: &str,
        notes: &Notes,
    ) -> Result<Summary, RunError> {
        let options = self.options(out);
        mobillm::pipeline::run(&self.load(sets), &self.environment, &options, &notes.watch())
    }

    pub fn adapter(&self, out: &str) -> Vec<u8> {
        fs::read(self.path(out).join("adapter.safetensors")).unwrap()
    }
}

/// Keeps the news and can ask to stop after some steps.
#[derive(Default)]
pub struct Notes {
    pub news: Mutex<Vec<News>>,
    pub stop: Stop,
    pub stop_after: Option<u64>,
}

impl Notes {
    pub fn watch(&self) -> Watch<'_> {
        Watch { observer: self, stop: self.stop.clone() }
    }

    /// Whether a note says `what`.
    pub fn says(&self, what: &str) -> bool {
        let news = self.news.lock().unwrap();
        news.iter().any(|news| matches!(news, News::Note { message } if message.contains(what)))
    }

    pub fn warnings(&self) -> Vec<String> {
        let news = self.news.lock().unwrap();
        let warnings = news.iter().filter_map(|news| match news {
            News::Warning { message } => Some(message.clone()),
            _ => None,
        });
        warnings.collect()
    }
}

impl Observer for Notes {
    fn news(&self, news: News) {
        if let News::Step { report } = &news
            && self.stop_after.is_some_and(|steps| report.step + 1 >= steps)
        {
            self.stop.request();
        }
        self.news.lock().unwrap().push(news);
    }
}

/// A loopback address that nothing listens on.
pub fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

pub fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
