//! Layouts over the door: which rows belong to which sample.

use mobillm_core::activations::Layout;

use crate::abi::MobillmLayout;
use crate::text::there;

/// `layout`, lent; it must outlive what is given.
pub(crate) fn lend(layout: &Layout) -> MobillmLayout {
    MobillmLayout {
        offsets: layout.offsets().as_ptr(),
        samples: layout.samples(),
        positions: layout.all_positions().as_ptr(),
    }
}

/// The layout of `rows` rows that the other side lent.
///
/// # Errors
/// If its parts do not fit together or are not those of so many rows.
///
/// # Safety
/// The pointer is null or points to a layout whose `samples + 1` offsets there are, and whose
/// positions are as many as the last of these says.
pub(crate) unsafe fn read(layout: *const MobillmLayout, rows: usize) -> Result<Layout, String> {
    // SAFETY: as the caller promises.
    let MobillmLayout { offsets, samples, positions } = *unsafe { one("layout", layout) }?;
    let count = samples.saturating_add(1);
    // SAFETY: there are so many, as the caller promises.
    let offsets = unsafe { list("offsets", offsets, count) }?;
    let last = offsets[samples];
    if usize::try_from(last) != Ok(rows) {
        return Err(format!("the layout ends at row {last}, expected {rows}, as there are rows"));
    }
    if offsets[0] != 0 {
        return Err(format!("the layout begins at row {}, expected 0", offsets[0]));
    }
    // SAFETY: there are so many, as the caller promises.
    let positions = unsafe { list("positions", positions, rows) }?;
    let mut read = Layout::empty();
    for (sample, bounds) in offsets.windows(2).enumerate() {
        let (begin, end) = (bounds[0] as usize, bounds[1] as usize);
        let Some(positions) = positions.get(begin..end) else {
            return Err(format!(
                "the layout's sample {sample} has the rows {begin} to {end}, expected ascending ones up to {rows}"
            ));
        };
        read.push(positions.iter().copied());
    }
    Ok(read)
}

/// What the other side lent of a struct.
///
/// # Errors
/// If it is missing, or the address cannot be its own.
///
/// # Safety
/// The pointer is null or, if it is aligned, points to one that lives for `'a`.
pub(crate) unsafe fn one<'a, T>(what: &str, pointer: *const T) -> Result<&'a T, String> {
    if pointer.is_null() {
        return Err(format!("the {what} is missing"));
    }
    if !pointer.is_aligned() {
        let align = align_of::<T>();
        return Err(format!("the {what} is at {pointer:?}, expected a multiple of {align}"));
    }
    // SAFETY: as the caller promises.
    Ok(unsafe { &*pointer })
}

/// `count` numbers that the other side lent.
///
/// # Errors
/// If the address cannot be theirs, or no memory holds so many.
///
/// # Safety
/// The pointer is null or, if it is aligned, points to so many numbers that live for `'a`.
pub(crate) unsafe fn list<'a, T: Copy>(
    what: &str,
    numbers: *const T,
    count: usize,
) -> Result<&'a [T], String> {
    if !there(what, numbers, count)? {
        return Ok(&[]);
    }
    // SAFETY: as the caller promises; they fit the memory.
    Ok(unsafe { std::slice::from_raw_parts(numbers, count) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(offsets: &[u32], positions: &[u32], rows: usize) -> Result<Layout, String> {
        let (offsets, positions, samples) =
            (offsets.as_ptr(), positions.as_ptr(), offsets.len() - 1);
        // SAFETY: the numbers live for the call; no more positions are read than `rows`, which the tests keep to.
        unsafe { read(&MobillmLayout { offsets, samples, positions }, rows) }
    }

    #[test]
    fn what_is_lent_is_read() {
        let mut layout = Layout::from_counts([2, 0]);
        layout.push([5, 9, 11]);
        for layout in [layout, Layout::empty(), Layout::from_counts([0, 0])] {
            // SAFETY: the layout lives for the call.
            assert_eq!(unsafe { read(&lend(&layout), layout.rows()) }, Ok(layout));
        }
    }

    #[test]
    fn no_number_is_believed() {
        assert!(of(&[0, 2, 3], &[0, 1, 0], 3).is_ok());
        for (offsets, rows, problem) in [
            (&[0, 2, 3][..], 2, "ends at row 3, expected 2"),
            (&[1, 2, 3], 3, "begins at row 1"),
            (&[0, 3, 2, 3], 3, "sample 1 has the rows 3 to 2"),
            (&[0, 4, 3], 3, "sample 0 has the rows 0 to 4"),
            (&[0, u32::MAX, 3], 3, "sample 0 has the rows 0 to 4294967295"),
        ] {
            let said = of(offsets, &[0, 1, 0], rows).unwrap_err();
            assert!(said.contains(problem), "{said}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_read() {
        let one = Layout::from_counts([1]);
        let layout = lend(&one);
        let shifted = layout.positions.wrapping_byte_add(1);
        // SAFETY: of none of these a number is read that is not there.
        let said = |layout: *const MobillmLayout| unsafe { read(layout, 1) }.unwrap_err();
        assert!(said(std::ptr::null()).contains("missing"));
        let odd = (&raw const layout).wrapping_byte_add(1);
        assert!(said(odd).contains("expected a multiple of 8"));
        assert!(
            said(&MobillmLayout { offsets: std::ptr::null(), ..layout })
                .contains("offsets are at 0x0")
        );
        for samples in [usize::MAX, usize::MAX / 4] {
            assert!(said(&MobillmLayout { samples, ..layout }).contains("fits the memory"));
        }
        for positions in [std::ptr::null(), shifted] {
            let said = said(&MobillmLayout { positions, ..layout });
            assert!(said.contains("positions are at"), "{said}");
        }
    }
}
