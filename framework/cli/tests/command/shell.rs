//! `mobillm completions` and `mobillm man`.

use std::fs;

use crate::setup::{Setup, names};

#[test]
fn every_shell_learns_the_subcommands() {
    let setup = Setup::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = setup.succeeds(&["completions", shell]);
        for word in ["mobillm", "plugins", "patience"] {
            assert!(script.contains(word), "{word} is not in the script of {shell}");
        }
    }
    assert_eq!(setup.output(&["completions", "sh"]).status.code(), Some(2));
}

#[test]
fn every_subcommand_has_a_man_page() {
    let setup = Setup::new();
    setup.succeeds(&["man", "--out", "share/man1"]);
    let mut pages = names(&setup.path("share/man1"));
    pages.sort();
    insta::assert_snapshot!("man-pages", pages.join("\n"));
    let page = fs::read_to_string(setup.path("share/man1/mobillm-plugins-check.1")).unwrap();
    for words in [".TH mobillm-plugins-check 1", "Judge a library", "\\-\\-seal"] {
        assert!(page.contains(words), "{words:?} is not in:\n{page}");
    }
}
