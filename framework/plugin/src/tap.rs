//! Taps over the door, without a copy of their hidden states.

use mobillm_core::backbone::Tap;

use crate::abi::MobillmTap;
use crate::layout::{list, one};
use crate::tensors::{Lent, view};

/// Lends `tap` to `take`. Only one whose hidden state is not contiguous is copied for that.
///
/// # Errors
/// If its lengths are not those of its samples.
pub(crate) fn lend<R>(tap: &Tap<'_>, take: impl FnOnce(&MobillmTap) -> R) -> Result<R, String> {
    let shape = tap.hidden.dim();
    if tap.lengths.len() != shape.0 {
        return Err(format!(
            "expected the lengths of {} samples, got {}",
            shape.0,
            tap.lengths.len()
        ));
    }
    within(tap.lengths, shape.1)?;
    let hidden = tap.hidden.as_standard_layout();
    #[expect(clippy::expect_used, reason = "the standard layout is contiguous")]
    let values = hidden.as_slice().expect("the standard layout is contiguous");
    let lent = Lent::of(values, shape.into());
    let tensor = lent.tensor();
    Ok(take(&MobillmTap { layer: tap.layer, hidden: &tensor, lengths: tap.lengths.as_ptr() }))
}

/// The tap that the other side lent; of the shape `expected`, if one is known.
///
/// # Errors
/// If its parts do not fit together.
///
/// # Safety
/// The pointer is null or points to a tap that lives for `'a`, and so does its hidden state, as
/// [`view`] wants it, with a length for each of its samples.
pub(crate) unsafe fn read<'a>(
    tap: *const MobillmTap,
    expected: Option<(usize, usize, usize)>,
) -> Result<Tap<'a>, String> {
    // SAFETY: as the caller promises.
    let MobillmTap { layer, hidden, lengths } = *unsafe { one("tap", tap) }?;
    let of_layer = |problem: String| format!("layer {layer}: {problem}");
    // SAFETY: as the caller promises.
    let hidden = unsafe { view::<f32, 3>(hidden) }.map_err(of_layer)?;
    let shape = hidden.dim();
    if let Some(expected) = expected.filter(|expected| *expected != shape) {
        return Err(of_layer(format!("its hidden state is {shape:?}, expected {expected:?}")));
    }
    // SAFETY: there are so many, as the caller promises.
    let lengths = unsafe { list("lengths", lengths, shape.0) }.map_err(of_layer)?;
    within(lengths, shape.1).map_err(of_layer)?;
    Ok(Tap { layer, hidden, lengths })
}

fn within(lengths: &[usize], tokens: usize) -> Result<(), String> {
    match lengths.iter().find(|length| **length > tokens) {
        None => Ok(()),
        Some(length) => {
            Err(format!("expected samples of at most {tokens} tokens, got one of {length}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, Axis};

    use super::*;

    /// Two samples of three tokens of two values.
    fn hidden() -> Array3<f32> {
        Array3::from_shape_fn((2, 3, 2), |(sample, token, column)| {
            (sample * 100 + token * 10 + column) as f32
        })
    }

    #[test]
    fn a_tap_crosses_without_a_copy() {
        let hidden = hidden();
        let tap = Tap { layer: 7, hidden: hidden.view(), lengths: &[3, 1] };
        lend(&tap, |lent| {
            // SAFETY: the tap is lent for this call.
            let seen = unsafe { read(lent, Some((2, 3, 2))) }.unwrap();
            assert_eq!((seen.layer, seen.lengths), (7, tap.lengths));
            assert_eq!(seen.hidden.as_ptr(), hidden.as_ptr());
            assert_eq!(seen.lengths.as_ptr(), tap.lengths.as_ptr());
            assert_eq!(seen.hidden, hidden);
        })
        .unwrap();
    }

    #[test]
    fn the_order_in_memory_changes_nothing() {
        let mut mirrored = hidden();
        mirrored.invert_axis(Axis(1));
        mirrored.swap_axes(0, 2);
        let tap = Tap { layer: 0, hidden: mirrored.view(), lengths: &[3, 1] };
        // SAFETY: the tap is lent for the call.
        let seen = lend(&tap, |lent| unsafe { read(lent, None) }.unwrap().hidden.to_owned());
        assert_eq!(seen, Ok(mirrored));
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused_on_both_sides() {
        let hidden = hidden();
        let tap = |lengths| Tap { layer: 0, hidden: hidden.view(), lengths };
        for (lengths, problem) in [(&[4, 1][..], "got one of 4"), (&[1], "of 2 samples, got 1")] {
            let said = lend(&tap(lengths), |_| ()).unwrap_err();
            assert!(said.contains(problem), "{said}");
        }
        let long = [0_usize, 4];
        let said = lend(&tap(&[3, 1]), |lent| {
            let with = |lengths| {
                let lent = MobillmTap { lengths, ..*lent };
                // SAFETY: the tap is lent for this call, and the lengths are two or not there.
                unsafe { read(&lent, None) }.unwrap_err()
            };
            // SAFETY: as above.
            let of = |tap| unsafe { read(tap, Some((2, 3, 1))) }.unwrap_err();
            [with(long.as_ptr()), with(std::ptr::null()), of(lent), of(std::ptr::null())]
        });
        let problems = ["got one of 4", "lengths are at 0x0", "expected (2, 3, 1)", "missing"];
        for (said, problem) in said.unwrap().iter().zip(problems) {
            assert!(said.contains(problem), "{said}");
        }
    }
}
