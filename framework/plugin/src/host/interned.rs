//! Names from the other side where the host's types want names that live for ever.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// `text`, kept until the process ends, once: as libraries are.
pub(crate) fn interned(text: &str) -> &'static str {
    static KEPT: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept.get(text) {
        return known;
    }
    let text: &'static str = Box::leak(Box::from(text));
    kept.insert(text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once() {
        let (first, again) = (interned("acme.net"), interned(&["acme", ".net"].concat()));
        assert_eq!((first, first.as_ptr()), ("acme.net", again.as_ptr()));
        assert_eq!(interned("acme"), "acme");
    }
}
