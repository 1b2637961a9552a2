//! What the templates of C do beyond the laws of their slots: `templates/` has tests of them in C.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setup::{Setup, succeeded};

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/command/templates");

/// Begins `acme-SLOT`.
fn begun(setup: &Setup, slot: &str) -> PathBuf {
    let name = format!("acme-{slot}");
    setup.succeeds(&["plugins", "new", "--slot", slot, "--lang", "c", &name]);
    setup.path(&name)
}

/// The program of the test `name`, built with the files of `folder`.
fn test(setup: &Setup, name: &str, folder: &Path) -> Command {
    let program = setup.path(name);
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-pthread", "-Wall", "-Werror"])
        .args(["-I", TESTS, "-I"])
        .arg(folder)
        .arg("-o")
        .arg(&program)
        .arg(Path::new(TESTS).join(name).with_extension("c"))
        .args(["-lm", "-ldl"]);
    succeeded(&cc.output().unwrap());
    let mut test = Command::new(program);
    setup.at_home(&mut test);
    test
}

#[test]
fn numbers_are_those_of_json_and_text_stays_text() {
    let setup = Setup::new();
    let folder = begun(&setup, "selector");
    succeeded(&test(&setup, "kit", &folder).output().unwrap());
    // A locale with a comma, where the system can make one.
    let made = Command::new("localedef")
        .args(["-i", "de_DE", "-f", "UTF-8"])
        .arg(setup.path("de_DE.UTF-8"))
        .output();
    if made.is_ok_and(|made| made.status.success()) {
        let mut test = test(&setup, "kit", &folder);
        test.arg("de_DE.UTF-8").env("LOCPATH", setup.path(""));
        succeeded(&test.output().unwrap());
    }
}

#[test]
fn a_backbone_says_what_it_cannot_be_built_of() {
    let setup = Setup::new();
    let folder = begun(&setup, "backbone");
    succeeded(&test(&setup, "backbone", &folder).output().unwrap());
}

#[test]
fn a_side_network_says_why_it_does_not_take_a_file() {
    let setup = Setup::new();
    let folder = begun(&setup, "side-network");
    succeeded(&test(&setup, "side_network", &folder).output().unwrap());
}

#[test]
fn an_option_that_is_no_number_is_told_and_own_flags_build() {
    let setup = Setup::new();
    for (code, slot, option, fits) in [
        ("0", "backbone", "mixing", "0.5"),
        ("1", "selector", "every", "3"),
        ("2", "privacy-policy", "norm", "2e1"),
        ("3", "quantizer", "steps", "7"),
        ("4", "transport", "capacity", "1"),
        ("5", "side-network", "rate", "1.5"),
    ] {
        let folder = begun(&setup, slot);
        let make = Command::new("make").arg("CFLAGS=-g").current_dir(&folder).output().unwrap();
        let ran = succeeded(&make);
        assert!(ran.contains(" -g ") && ran.contains("-ffp-contract=off"), "{ran}");
        let library = folder.join(format!("libacme_{}.so", slot.replace('-', "_")));
        let found = |value: &str| {
            let mut check = test(&setup, "options", &folder);
            check.arg(&library).arg(code).arg(format!("acme.{slot}"));
            succeeded(&check.arg(format!("{{\"{option}\": {value}}}")).output().unwrap())
        };
        let told = format!("\"path\": \"{option}\", \"message\": \"it is ");
        assert!(!found(fits).contains(&told), "{slot}: {}", found(fits));
        for value in ["\"7\"", "null", "true", "[7]", "{}", "-1"] {
            assert!(found(value).contains(&told), "{slot} {value}: {}", found(value));
        }
    }
}
