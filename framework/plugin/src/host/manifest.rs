//! The manifest beside a library: what it is, read before any of its code runs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::registry::Slot;
use serde::de::IntoDeserializer;
use serde::de::value::{self, StrDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use super::library::LibraryError;
use crate::abi::MAJOR;

/// The version of the file.
const FORMAT: i64 = 1;

/// A file over this is no manifest.
const LARGEST: u64 = 1 << 16;

/// What a library is. It says so itself, once it is loaded; `FILE.toml` beside it says so before.
///
/// ```toml
/// format = 1
/// name = "acme-codes"
/// version = "0.1.0"
/// abi = "1.0"
/// slots = ["privacy-policy", "quantizer"]
/// sha256 = "6ab2..."
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The library's name.
    pub name: String,
    /// The library's own version.
    pub version: String,
    /// The version of the ABI that it was built for: major, dot, minor.
    pub abi: String,
    /// The slots that it fills, as far as they are known here: a newer library may fill a newer one.
    #[serde(deserialize_with = "known_slots")]
    pub slots: BTreeSet<Slot>,
    /// Digest of the file; a library that is linked in has none.
    pub sha256: Option<Fingerprint>,
}

fn known_slots<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<Slot>, D::Error> {
    let known = |name: &String| {
        let name: StrDeserializer<'_, value::Error> = name.as_str().into_deserializer();
        Slot::deserialize(name).ok()
    };
    Ok(Vec::<String>::deserialize(deserializer)?.iter().filter_map(known).collect())
}

impl Manifest {
    /// Where the manifest of `library` stands: its name with `.toml` after it.
    pub fn path(library: &Path) -> PathBuf {
        let mut path = library.as_os_str().to_owned();
        path.push(".toml");
        path.into()
    }

    /// The manifest beside `library`, if there is one.
    ///
    /// # Errors
    /// If it cannot be read or is no manifest.
    pub fn beside(library: &Path) -> Result<Option<Self>, LibraryError> {
        let path = Self::path(library);
        let mut text = String::new();
        let most = LARGEST + 1;
        let read = File::open(&path).and_then(|file| file.take(most).read_to_string(&mut text));
        let manifest = match read {
            Ok(bytes) if bytes as u64 == most => {
                Err(format!("it is no manifest of a plugin: it has more than {LARGEST} bytes"))
            }
            Ok(_) => Self::parse(&text),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error.to_string()),
        };
        manifest.map(Some).map_err(|problem| LibraryError::Manifest { path, problem })
    }

    /// The manifest that `text` is.
    fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            |error: toml::de::Error| format!("it is no manifest of a plugin: {}", error.message());
        let mut table: toml::Table = toml::from_str(text).map_err(wrong)?;
        match table.remove("format") {
            Some(toml::Value::Integer(FORMAT)) => table.try_into().map_err(wrong),
            Some(toml::Value::Integer(newer @ FORMAT..)) => Err(format!(
                "its format is {newer}, this mobillm reads {FORMAT}: get a newer mobillm"
            )),
            Some(other) => Err(format!("its format is {other}, expected {FORMAT}")),
            None => Err(format!("it is no manifest of a plugin: `format = {FORMAT}` is missing")),
        }
    }

    /// Writes it beside `library`, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written; an older one is then still there.
    pub fn write(&self, library: &Path) -> io::Result<()> {
        let path = Self::path(library);
        let text =
            format!("format = {FORMAT}\n{}", toml::to_string(self).map_err(io::Error::other)?);
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        let replace = || {
            let mut file = File::create(&partial)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&partial, &path)
        };
        replace().inspect_err(|_| drop(fs::remove_file(&partial)))
    }

    /// Refuses the file `library` with digest `sha256` before it is loaded, if this is not its manifest.
    pub(super) fn admit(&self, library: &Path, sha256: Fingerprint) -> Result<(), LibraryError> {
        let major = self.abi.split_once('.').and_then(|(major, _)| major.parse().ok());
        if major != Some(MAJOR) {
            return Err(LibraryError::Abi {
                path: Self::path(library),
                what: "the ABI",
                got: self.abi.clone(),
                expected: format!("{MAJOR}.x"),
                remedy: "get a version of the plugin that was built for this mobillm",
            });
        }
        let file = Self { sha256: Some(sha256), ..self.clone() };
        self.agree(library, &file)
    }

    /// Refuses `library` if it says of itself, with `own`, anything but this.
    pub(super) fn agree(&self, library: &Path, own: &Self) -> Result<(), LibraryError> {
        let digest = |manifest: &Self| manifest.sha256.map(|sha256| sha256.to_string());
        let fields = |manifest: &Self| {
            let Self { name, version, abi, slots, .. } = manifest;
            let slots: Vec<String> = slots.iter().map(Slot::to_string).collect();
            let digest = digest(manifest).unwrap_or_else(|| "missing".to_owned());
            [name.clone(), version.clone(), abi.clone(), slots.join(", "), digest]
        };
        let names = ["name", "version", "abi", "slots", "sha256"];
        let wrong: Vec<String> = names
            .iter()
            .zip(fields(self).iter().zip(fields(own)))
            .filter(|(_, (says, is))| **says != *is)
            .map(|(name, (says, is))| format!("{name} is {says}, that of the library {is}"))
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(LibraryError::Manifest { path: Self::path(library), problem: wrong.join("; ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(bytes: &[u8]) -> Manifest {
        Manifest {
            name: "acme-codes".to_owned(),
            version: "0.1.0".to_owned(),
            abi: "1.0".to_owned(),
            slots: [Slot::Quantizer, Slot::PrivacyPolicy].into(),
            sha256: Some(Fingerprint::of(bytes)),
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_lies_about() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libacme.so");
        assert_eq!(Manifest::beside(&library).unwrap(), None);
        manifest(b"old").write(&library).unwrap();
        manifest(b"new").write(&library).unwrap();
        assert_eq!(Manifest::beside(&library).unwrap(), Some(manifest(b"new")));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let text = fs::read_to_string(folder.path().join("libacme.so.toml")).unwrap();
        assert!(text.contains("slots = [\"privacy-policy\", \"quantizer\"]"), "{text}");
    }

    #[test]
    fn a_slot_of_a_newer_library_is_passed_over() {
        let text = "format = 1\nname = \"a\"\nversion = \"1\"\nabi = \"1.1\"\nslots = [\"oracle\", \"quantizer\"]";
        assert_eq!(Manifest::parse(text).unwrap().slots, [Slot::Quantizer].into());
    }

    #[test]
    fn a_file_that_is_no_manifest_is_told_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libacme.so");
        for text in [
            "name = \"acme-codes\"",
            "format = 1",
            "format = 1\nname = 3",
            "format = 1\ncolour = \"red\"",
            "\u{fffd} =",
        ] {
            fs::write(folder.path().join("libacme.so.toml"), text).unwrap();
            let error = Manifest::beside(&library).unwrap_err().to_string();
            assert!(error.contains("libacme.so.toml: it is no manifest of a plugin: "), "{error}");
        }
    }

    #[test]
    fn every_format_is_read_and_no_other() {
        let kept = include_str!("../../fixtures/manifest-v1.toml");
        assert_eq!(Manifest::parse(kept), Ok(manifest(b"a library")));
        for (format, said) in [
            ("2", "its format is 2, this mobillm reads 1: get a newer mobillm"),
            ("0", "its format is 0, expected 1"),
            ("\"1\"", "its format is \"1\", expected 1"),
        ] {
            let text = kept.replace("format = 1", &format!("format = {format}"));
            assert_eq!(Manifest::parse(&text), Err(said.to_owned()));
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libacme.so");
        let text = "#".repeat(LARGEST as usize + 1);
        fs::write(folder.path().join("libacme.so.toml"), text).unwrap();
        let error = Manifest::beside(&library).unwrap_err().to_string();
        assert!(error.contains("more than 65536 bytes"), "{error}");
    }

    #[test]
    fn another_file_and_another_abi_are_refused_before_they_are_loaded() {
        let library = Path::new("libacme.so");
        let is = Fingerprint::of(b"file");
        manifest(b"file").admit(library, is).unwrap();
        let error = manifest(b"other").admit(library, is).unwrap_err().to_string();
        assert!(error.starts_with("libacme.so.toml: sha256 is "), "{error}");
        assert!(error.contains(&is.to_string()) && error.ends_with("--seal`)"), "{error}");
        for abi in ["2.0", "0.9", "1", "", "one.0"] {
            let other = Manifest { abi: abi.to_owned(), ..manifest(b"file") };
            let error = other.admit(library, is).unwrap_err().to_string();
            assert!(error.contains(&format!("the ABI is {abi}, expected 1.x")), "{error}");
        }
        let unsealed = Manifest { sha256: None, ..manifest(b"file") };
        assert!(unsealed.admit(library, is).is_err(), "a manifest names its file");
    }

    #[test]
    fn every_difference_to_what_the_library_says_is_told() {
        let own = manifest(b"file");
        let wrong = Manifest {
            version: "0.2.0".to_owned(),
            slots: [Slot::Quantizer].into(),
            ..manifest(b"file")
        };
        let error = wrong.agree(Path::new("libacme.so"), &own).unwrap_err().to_string();
        let said = "version is 0.2.0, that of the library 0.1.0; slots is quantizer, that of the library \
                    privacy policy, quantizer";
        assert!(error.contains(said), "{error}");
        own.agree(Path::new("libacme.so"), &manifest(b"file")).unwrap();
    }
}
