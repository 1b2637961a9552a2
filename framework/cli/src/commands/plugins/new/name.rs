//! The name of a new plugin, and what follows from it.

use mobillm_core::registry::Slot;

use super::super::check::US;
use super::NewError;

/// A name such as `acme-q6`.
pub(super) struct Name<'a> {
    whole: &'a str,
    vendor: &'a str,
    own: &'a str,
}

impl<'a> Name<'a> {
    /// # Errors
    /// If it is not two or more lower-case words joined by hyphens, of which the first is somebody's.
    pub(super) fn parse(whole: &'a str) -> Result<Self, NewError> {
        let wrong = |problem| NewError::Name { name: whole.to_owned(), problem };
        let (vendor, own) = whole.split_once('-').ok_or_else(|| wrong("is one word"))?;
        let is_word = |word: &str| {
            word.starts_with(|first: char| first.is_ascii_lowercase())
                && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        match whole.split('-').all(is_word) {
            true if vendor == US => Err(wrong("is of mobillm's own")),
            true => Ok(Self { whole, vendor, own }),
            false => Err(wrong("has a word that is no word")),
        }
    }

    /// The folder and the crate: `acme-q6`.
    pub(super) fn folder(&self) -> &'a str {
        self.whole
    }

    /// The `type` of configs: `acme.q6`.
    pub(super) fn tag(&self) -> String {
        format!("{}.{}", self.vendor, self.own)
    }

    /// The library and the C file: `acme_q6`.
    pub(super) fn identifier(&self) -> String {
        self.whole.replace('-', "_")
    }

    /// The type in a slot: `AcmeQ6Quantizer`. The slot's name is not said twice.
    pub(super) fn type_name(&self, slot: Slot) -> String {
        let slot = slot.to_string().replace(' ', "-");
        let words = |text: &str| text.split('-').map(capital).collect::<String>();
        match self.own == slot {
            true => words(self.whole),
            false => words(self.whole) + &words(&slot),
        }
    }

    /// The four letters of a quantizer's payloads, as a text of Rust or C has them: `q6\0\0`.
    pub(super) fn payload(&self) -> String {
        let letters: String = self.own.chars().filter(|c| *c != '-').take(4).collect();
        let zeros = 4 - letters.len();
        letters + &"\\0".repeat(zeros)
    }
}

fn capital(word: &str) -> String {
    word[..1].to_ascii_uppercase() + &word[1..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_follow_from_one() {
        let name = Name::parse("acme-q6-fast").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((name.folder(), &*name.tag()), ("acme-q6-fast", "acme.q6-fast"));
        assert_eq!(name.identifier(), "acme_q6_fast");
        assert_eq!(name.type_name(Slot::Quantizer), "AcmeQ6FastQuantizer");
        assert_eq!(name.payload(), "q6fa");
        let plain = Name::parse("acme-side-network").map(|name| name.type_name(Slot::SideNetwork));
        assert_eq!(plain.ok().as_deref(), Some("AcmeSideNetwork"));
        let short = Name::parse("acme-q6").map(|name| name.payload());
        assert_eq!(short.ok().as_deref(), Some("q6\\0\\0"));
    }

    #[test]
    fn what_no_tag_can_be_made_of_is_refused() {
        for name in [
            "",
            "q6",
            "acme-",
            "-q6",
            "acme--q6",
            "Acme-q6",
            "acme-6",
            "acme.q6",
            "acme-q 6",
            "../acme-q6",
            "mobillm-q6",
        ] {
            assert!(Name::parse(name).is_err(), "{name}");
        }
    }
}
