//! The table in a terminal.

use mobillm_report::{Comparison, Target, Variant};

use crate::samples::{MOBILLM, PAE, Plan, both, failed, machine, variant};

fn table(variants: Vec<Variant>) -> String {
    Comparison::new(variants, Target::default(), machine()).table()
}

#[test]
fn two_variants_of_three_seeds() {
    insta::assert_snapshot!(both(&[1, 2, 3]).table(), @r"
    target: accuracy 0.9888: the final mean of mobillm less 0.5 points
    ┌───────────────────────────┬─────────────────┬─────────────────┐
    │                           ┆         mobillm ┆     pae-mobillm │
    ╞═══════════════════════════╪═════════════════╪═════════════════╡
    │ seeds                     ┆               3 ┆               3 │
    │ accuracy                  ┆ 0.9938 ± 0.0006 ┆ 0.9930 ± 0.0006 │
    │ paired difference, points ┆       reference ┆    -0.07 ± 0.06 │
    │ F1 of spam                ┆ 0.9688 ± 0.0006 ┆ 0.9680 ± 0.0006 │
    │ macro F1                  ┆ 0.9838 ± 0.0006 ┆ 0.9830 ± 0.0006 │
    │ accuracy before           ┆          0.8798 ┆          0.8798 │
    │ device peak memory        ┆  415.7 ± 1.4 MB ┆  374.7 ± 1.4 MB │
    │ device forward            ┆          65.4 s ┆    11.0 ± 0.2 s │
    │ device evaluation         ┆   3.76 ± 0.45 s ┆   3.76 ± 0.45 s │
    │ rows forwarded            ┆           21762 ┆            3627 │
    │ held-out rows forwarded   ┆             907 ┆             907 │
    │ bytes up                  ┆        702.6 MB ┆          4.7 MB │
    │ bytes up per row          ┆         32.3 kB ┆          1.3 kB │
    │ bytes down                ┆          7.2 MB ┆          7.2 MB │
    │ seeds at the target       ┆          3 of 3 ┆          3 of 3 │
    │ seconds to target         ┆    28.1 ± 7.4 s ┆    13.5 ± 1.2 s │
    │ bytes up to target        ┆ 273.2 ± 67.6 MB ┆          4.7 MB │
    │ server training           ┆    46.2 ± 0.2 s ┆    46.2 ± 0.2 s │
    │ wall time                 ┆    77.4 ± 0.1 s ┆    22.9 ± 0.1 s │
    └───────────────────────────┴─────────────────┴─────────────────┘
    ");
}

#[test]
fn one_run() {
    let one = vec![variant(&Plan { peak_bytes: None, ..MOBILLM }, &[1])];
    insta::assert_snapshot!(table(one), @r"
    target: accuracy 0.9884: the final mean of mobillm less 0.5 points
    ┌─────────────────────────┬──────────┐
    │                         ┆  mobillm │
    ╞═════════════════════════╪══════════╡
    │ seeds                   ┆        1 │
    │ accuracy                ┆   0.9934 │
    │ F1 of spam              ┆   0.9684 │
    │ macro F1                ┆   0.9834 │
    │ accuracy before         ┆   0.8798 │
    │ device forward          ┆   65.5 s │
    │ device evaluation       ┆   4.27 s │
    │ rows forwarded          ┆    21762 │
    │ held-out rows forwarded ┆      907 │
    │ bytes up                ┆ 702.6 MB │
    │ bytes up per row        ┆  32.3 kB │
    │ bytes down              ┆   7.2 MB │
    │ seeds at the target     ┆   1 of 1 │
    │ seconds to target       ┆   23.6 s │
    │ bytes up to target      ┆ 234.2 MB │
    │ server training         ┆   46.1 s │
    │ wall time               ┆   77.5 s │
    └─────────────────────────┴──────────┘
    ");
}

#[test]
fn an_emulated_link_a_target_missed_and_a_failed_run() {
    let emulated = |plan| Plan { emulated: true, ..plan };
    let weak = Plan { name: "every-4th-layer", points: -2.0, ..emulated(PAE) };
    let mut failing = variant(&weak, &[1, 2]);
    failing.runs[1] = failed(2, "the device's process was killed\n(signal 9)");
    insta::assert_snapshot!(table(vec![variant(&emulated(MOBILLM), &[1, 2]), failing]), @r"
    target: accuracy 0.9884: the final mean of mobillm less 0.5 points
    ┌───────────────────────────┬───────────────────────────┬─────────────────┐
    │                           ┆                   mobillm ┆ every-4th-layer │
    ╞═══════════════════════════╪═══════════════════════════╪═════════════════╡
    │ seeds                     ┆                         2 ┆          1 of 2 │
    │ accuracy                  ┆                    0.9934 ┆          0.9724 │
    │ paired difference, points ┆                 reference ┆    -2.09, n = 1 │
    │ F1 of spam                ┆                    0.9684 ┆          0.9474 │
    │ macro F1                  ┆                    0.9834 ┆          0.9624 │
    │ accuracy before           ┆                    0.8798 ┆          0.8798 │
    │ device peak memory        ┆ 415.0 (414.2 to 415.7) MB ┆        373.2 MB │
    │ device forward            ┆     65.5 (65.4 to 65.5) s ┆          10.8 s │
    │ device evaluation         ┆     3.85 (3.43 to 4.27) s ┆          4.27 s │
    │ rows forwarded            ┆                     21762 ┆            3627 │
    │ held-out rows forwarded   ┆                       907 ┆             907 │
    │ bytes up                  ┆                  702.6 MB ┆          4.7 MB │
    │ bytes up per row          ┆                   32.3 kB ┆          1.3 kB │
    │ bytes down                ┆                    7.2 MB ┆          7.2 MB │
    │ emulated link up          ┆                   281.1 s ┆          1.89 s │
    │ emulated link down        ┆                    2.40 s ┆          2.40 s │
    │ emulated packets lost     ┆                      4684 ┆              31 │
    │ seeds at the target       ┆                    2 of 2 ┆          0 of 1 │
    │ seconds to target         ┆     94.0 (93.9 to 94.2) s ┆     not reached │
    │ bytes up to target        ┆                  234.2 MB ┆     not reached │
    │ server training           ┆     46.2 (46.1 to 46.2) s ┆          46.1 s │
    │ wall time                 ┆  288.2 (288.2 to 288.3) s ┆          22.8 s │
    └───────────────────────────┴───────────────────────────┴─────────────────┘
    not counted: every-4th-layer, seed 2: the device's process was killed; (signal 9)
    ");
}

#[test]
fn any_number_of_variants_fits_in_100_columns() {
    let names = [
        "a",
        "a-name-that-is-wider-than-any-figure-and-wider-than-a-terminal-of-100-columns-\
        so-that-it-cannot-be-in-one-line",
        "c",
        "d",
        "e",
        "f",
        "g",
        "h",
    ];
    for count in 1..=names.len() {
        for seeds in [&[1][..], &[1, 2], &[1, 2, 3]] {
            let plans = names[..count].iter().map(|name| Plan { name, ..MOBILLM });
            let table = table(plans.map(|plan| variant(&plan, seeds)).collect());
            let drawn = table.lines().filter(|line| line.starts_with(['│', '┌', '└', '╞']));
            let widest = drawn.map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= 100, "{widest} columns:\n{table}");
            let headers = table.lines().filter(|line| line.starts_with("│ seeds  "));
            let shown: usize = headers.map(|line| line.matches('┆').count()).sum();
            assert_eq!(shown, count, "{table}");
        }
    }
}

#[test]
fn a_terminal_is_told_nothing_that_it_would_obey() {
    let mut hostile = variant(&MOBILLM, &[1]);
    hostile.name = "\u{1b}[31mred".into();
    hostile.config["task"]["positive"] = "\u{7}spam".into();
    hostile.runs.push(failed(2, "\u{1b}]0;title\u{7}\r\nmore"));
    let table = table(vec![hostile]);
    assert!(!table.replace('\n', "").contains(char::is_control), "{table:?}");
    assert!(table.contains("[31mred") && table.contains("; more"), "{table}");
}
