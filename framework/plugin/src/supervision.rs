//! Supervision over the door: what a policy releases and a side network is trained on.

use mobillm_core::privacy::Supervision;

use crate::abi::{
    MOBILLM_DIFFERENCE, MOBILLM_LABEL, MOBILLM_LABEL_AND_OWN, MOBILLM_VALUE, MobillmSupervision,
};
use crate::layout::{list, one};

/// `supervision`, lent; it must outlive what is given.
///
/// # Errors
/// If it is of a kind that does not cross.
pub(crate) fn lend(supervision: &Supervision) -> Result<MobillmSupervision, String> {
    let (kind, label, numbers) = match supervision {
        Supervision::Label(label) => (MOBILLM_LABEL, *label, &[][..]),
        Supervision::Value(value) => (MOBILLM_VALUE, 0, std::slice::from_ref(value)),
        Supervision::Difference(numbers) => (MOBILLM_DIFFERENCE, 0, &numbers[..]),
        Supervision::LabelAndOwn(label, own) => (MOBILLM_LABEL_AND_OWN, *label, &own[..]),
        other => return Err(format!("supervision of this kind does not cross: {other:?}")),
    };
    Ok(MobillmSupervision { kind, label, numbers: numbers.as_ptr(), count: numbers.len() })
}

/// The supervision that the other side lent, of at most `most` numbers.
///
/// # Errors
/// If it is of no known kind, or its numbers are more than that or not as many as its kind needs.
///
/// # Safety
/// The pointer is null or points to supervision whose `count` numbers there are.
pub(crate) unsafe fn read(
    supervision: *const MobillmSupervision,
    most: usize,
) -> Result<Supervision, String> {
    // SAFETY: as the caller promises.
    let MobillmSupervision { kind, label, numbers, count } =
        *unsafe { one("supervision", supervision) }?;
    if count > most {
        return Err(format!("the supervision has {count} numbers, expected at most {most}"));
    }
    // SAFETY: there are so many, as the caller promises.
    let numbers = unsafe { list("numbers of the supervision", numbers, count) }?;
    match (kind, numbers) {
        (MOBILLM_LABEL, []) => Ok(Supervision::Label(label)),
        (MOBILLM_VALUE, [value]) => Ok(Supervision::Value(*value)),
        (MOBILLM_DIFFERENCE, numbers) => Ok(Supervision::Difference(numbers.to_vec())),
        (MOBILLM_LABEL_AND_OWN, own) => Ok(Supervision::LabelAndOwn(label, own.to_vec())),
        _ => Err(format!("there is no supervision of kind {kind} with {count} numbers")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(supervision: MobillmSupervision, most: usize) -> Result<Supervision, String> {
        // SAFETY: what the tests lend outlives the call, and no more numbers are read than there are.
        unsafe { read(&supervision, most) }
    }

    #[test]
    fn what_is_lent_is_read() {
        for supervision in [
            Supervision::Label(7),
            Supervision::Value(-0.5),
            Supervision::Difference(vec![0.25, -0.25]),
            Supervision::LabelAndOwn(1, vec![0.5, 2.0]),
        ] {
            assert_eq!(through(lend(&supervision).unwrap(), 2), Ok(supervision));
        }
    }

    #[test]
    fn no_number_is_believed() {
        let numbers = Supervision::Difference(vec![0.5, 0.5]);
        let good = lend(&numbers).unwrap();
        for (supervision, problem) in [
            (MobillmSupervision { count: 3, ..good }, "3 numbers, expected at most 2"),
            (MobillmSupervision { count: usize::MAX, ..good }, "expected at most 2"),
            (MobillmSupervision { numbers: std::ptr::null(), ..good }, "are at 0x0"),
            (MobillmSupervision { kind: 4, ..good }, "no supervision of kind 4 with 2"),
            (MobillmSupervision { kind: MOBILLM_LABEL, ..good }, "of kind 0 with 2"),
            (MobillmSupervision { kind: MOBILLM_VALUE, count: 0, ..good }, "of kind 1 with 0"),
        ] {
            let said = through(supervision, 2).unwrap_err();
            assert!(said.contains(problem), "{said}");
        }
        // SAFETY: there is nothing to read.
        assert!(unsafe { read(std::ptr::null(), 2) }.is_err());
    }
}
