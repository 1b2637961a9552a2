//! Laws of the tokenizer: the limit holds, special tokens stay, every cut token is counted.
#![expect(clippy::unwrap_used, reason = "what fails to set a test up fails the test")]

use std::sync::LazyLock;

use mobillm_bundle::fixture::TinyBert;
use mobillm_bundle::{Bundle, Encoded};
use proptest::prelude::*;

static BUNDLE: LazyLock<(tempfile::TempDir, Bundle)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let bundle = TinyBert::default().bundle(&folder.path().join("bundle")).unwrap();
    (folder, bundle)
});

const CLS: u32 = 2;
const SEP: u32 = 3;

fn encode(limit: usize, text: &str, pair: Option<&str>) -> Encoded {
    BUNDLE.1.tokenizer(Some(limit)).unwrap().encode(text, pair).unwrap()
}

fn text(words: usize) -> String {
    vec!["tap"; words].join(" ")
}

proptest! {
    #[test]
    fn a_text_is_cut_at_the_end(words in 0_usize..60, limit in 4_usize..40) {
        let Encoded { tokens, truncated } = encode(limit, &text(words), None);
        let limit = limit.min(BUNDLE.1.info().max_tokens);
        prop_assert_eq!(tokens.ids.len(), (words + 2).min(limit));
        prop_assert_eq!(tokens.ids.len() + truncated, words + 2);
        prop_assert_eq!((tokens.ids[0], *tokens.ids.last().unwrap()), (CLS, SEP));
        prop_assert_eq!(tokens.segments, vec![0; tokens.ids.len()]);
    }

    #[test]
    fn of_a_pair_the_longer_text_is_cut(first in 0_usize..60, second in 0_usize..60, limit in 4_usize..33) {
        let Encoded { tokens, truncated } = encode(limit, &text(first), Some(&text(second)));
        prop_assert!(tokens.ids.len() <= limit);
        prop_assert_eq!(tokens.ids.len() + truncated, first + second + 3);
        prop_assert!(truncated == 0 || tokens.ids.len() == limit);
        prop_assert_eq!(tokens.ids.iter().filter(|&&id| id == SEP).count(), 2);
        let kept = |segment| tokens.segments.iter().filter(|&&of| of == segment).count();
        let (kept_first, kept_second) = (kept(0) - 2, kept(1) - 1);
        if kept_first < first {
            prop_assert!(kept_first + 1 >= kept_second.min(first));
        }
        if kept_second < second {
            prop_assert!(kept_second + 1 >= kept_first.min(second));
        }
    }

    #[test]
    fn no_text_breaks_it(text in any::<String>(), pair in proptest::option::of(any::<String>())) {
        let Encoded { tokens, .. } = encode(8, &text, pair.as_deref());
        prop_assert!(tokens.ids.len() <= 8);
        prop_assert_eq!(tokens.ids.len(), tokens.segments.len());
        prop_assert!(tokens.ids.iter().all(|&id| (id as usize) < TinyBert::VOCABULARY));
    }
}

#[test]
fn a_limit_without_room_for_text_is_refused() {
    let error = BUNDLE.1.tokenizer(Some(3)).unwrap_err().to_string();
    assert!(error.contains("max_tokens is 3"), "{error}");
}
