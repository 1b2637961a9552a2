//! Laws of the tokenizer: the limit holds, special tokens stay, every cut token is counted.
#![expect(clippy::unwrap_used, reason = "what fails to set a test up fails the test")]

use std::fs;
use std::sync::LazyLock;

use mobillm_bundle::fixture::TinyBert;
use mobillm_bundle::{Bundle, Encoded, ImportOptions, import};
use proptest::prelude::*;
use serde_json::json;

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

proptest! {
    #[test]
    fn of_a_prompt_only_the_inserted_text_is_cut(words in 0_usize..60, limit in 7_usize..33) {
        let prompt = format!("good {} out", text(words));
        let inserted = 5..prompt.len() - 4;
        let tokenizer = BUNDLE.1.tokenizer(Some(limit)).unwrap();
        let Encoded { tokens, truncated } = tokenizer.encode_prompt(&prompt, &[inserted]).unwrap();
        prop_assert_eq!(tokens.ids.len(), (words + 4).min(limit));
        prop_assert_eq!(tokens.ids.len() + truncated, words + 4);
        let (good, out) = (tokenizer.word("good").unwrap(), tokenizer.word("out").unwrap());
        prop_assert_eq!(&tokens.ids[..2], [CLS, good]);
        prop_assert_eq!(&tokens.ids[tokens.ids.len() - 2..], [out, SEP]);
    }

    #[test]
    fn no_prompt_breaks_it(text in any::<String>(), more in any::<String>()) {
        let inserted = text.len()..text.len() + more.len();
        let prompt = format!("{text}{more}");
        let tokenizer = BUNDLE.1.tokenizer(Some(8)).unwrap();
        if let Ok(Encoded { tokens, .. }) = tokenizer.encode_prompt(&prompt, &[inserted]) {
            prop_assert!(tokens.ids.len() <= 8);
        }
    }
}

#[test]
fn a_template_that_leaves_no_room_is_refused() {
    let tokenizer = BUNDLE.1.tokenizer(Some(5)).unwrap();
    let error = tokenizer
        .encode_prompt("a b the good", std::slice::from_ref(&(0..0)))
        .unwrap_err()
        .to_string();
    assert!(error.contains("has 6 tokens, but max_tokens is 5"), "{error}");
    let tokenizer = BUNDLE.1.tokenizer(Some(6)).unwrap();
    let out = 13..16;
    let error = tokenizer.encode_prompt("a b the good out", &[out]).unwrap_err().to_string();
    assert!(error.contains("has 6 tokens, but max_tokens is 6"), "{error}");
}

#[test]
fn a_word_is_one_token_or_an_error_that_lists_them() {
    let tokenizer = BUNDLE.1.tokenizer(None).unwrap();
    assert_ne!(tokenizer.word("good").unwrap(), tokenizer.word("bad").unwrap());
    let error = tokenizer.word("good bad").unwrap_err();
    assert_eq!(error, "\"good bad\" is 2 tokens of this model (\"good\", \"bad\")");
    assert!(tokenizer.word("").unwrap_err().contains("is 0 tokens"));
    for unknown in ["nowhere", "[UNK]"] {
        let error = tokenizer.word(unknown).unwrap_err();
        let words = "is no word of this model, which reads the token \"[UNK]\"";
        assert_eq!(error, format!("{unknown:?} {words}"));
    }
}

/// Unigrams do not name the token for what they lack, they number it.
#[test]
fn the_unknown_token_of_a_unigram_is_no_word() {
    let pieces = [("[PAD]", 0.0), ("<unk>", 0.0), ("\u{2581}good", -1.0), ("\u{2581}bad", -1.0)];
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "special": true, "single_word": false,
               "lstrip": false, "rstrip": false, "normalized": false})
    };
    let metaspace = json!({"type": "Metaspace", "replacement": "\u{2581}",
                           "prepend_scheme": "always", "split": true});
    let json = json!({
        "version": "1.0",
        "added_tokens": [special(0, "[PAD]"), special(1, "<unk>")],
        "pre_tokenizer": metaspace,
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 1, "byte_fallback": false, "vocab": pieces},
    });
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model"), folder.path().join("bundle"));
    TinyBert::default().write(&model).unwrap();
    fs::write(model.join("tokenizer.json"), json.to_string()).unwrap();
    let bundle = import(&model, &out, &ImportOptions::default()).unwrap();
    let tokenizer = bundle.tokenizer(None).unwrap();
    assert_eq!((tokenizer.word(" good"), tokenizer.word(" bad")), (Ok(2), Ok(3)));
    for unknown in ["<unk>", " nowhere"] {
        let error = tokenizer.word(unknown).unwrap_err();
        assert!(error.starts_with(&format!("{unknown:?} is no word of this model")), "{error}");
    }
}
