//! Small tasks for the tests of this crate.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::config::{Column, Columns, TaskConfig, TaskKind};

/// Spam or not, by columns `text` and `label`.
pub fn classification() -> TaskConfig {
    TaskConfig {
        name: "spam".into(),
        kind: TaskKind::Classification,
        train: "train.csv".into(),
        held_out: None,
        held_out_share: 0.2,
        split_seed: 0,
        format: None,
        header: true,
        columns: Columns {
            text: Column::Name("text".into()),
            pair: None,
            label: Column::Name("label".into()),
        },
        labels: vec!["ham".into(), "spam".into()],
        prompt: None,
        positive: Some("spam".into()),
        range: None,
        limit: None,
    }
}

/// How alike two sentences are, from 0 to 5.
pub fn regression() -> TaskConfig {
    TaskConfig {
        kind: TaskKind::Regression,
        labels: Vec::new(),
        positive: None,
        range: Some([0.0, 5.0]),
        columns: Columns { pair: Some(Column::Name("pair".into())), ..classification().columns },
        ..classification()
    }
}

/// A file in a folder that goes away with the test.
pub struct Scratch {
    folder: TempDir,
}

impl Scratch {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}
