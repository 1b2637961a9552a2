//! Hidden states of every layer and what models answer themselves, for a tiny model of every family,
//! against `transformers`.

use mobillm_bundle::ImportOptions;
use mobillm_bundle::fixture::Family;

use crate::setup;

/// Distance relative to the norm.
const TOLERANCE: f64 = 1e-4;

#[test]
fn every_layer_of_every_family_agrees_with_transformers() {
    let folder = tempfile::tempdir().unwrap();
    for family in Family::all() {
        let out = folder.path().join(&family.name);
        let bundle = family.bundle(&out, &ImportOptions::default()).unwrap();
        let taps: Vec<usize> = (0..=bundle.info().layers).collect();
        let mut backbone = setup::build(&bundle, &taps, &family.label_tokens);
        let distance = family.distance(&bundle, &mut *backbone).unwrap();
        assert!(distance < TOLERANCE, "{}: off by {distance:.1e}", family.name);
        println!("{}: largest relative distance {distance:.1e}", family.name);
    }
}
