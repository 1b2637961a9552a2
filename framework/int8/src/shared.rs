//! One output, written by several threads.

use std::marker::PhantomData;
use std::slice;

/// A slice whose parts are written by several threads, each part by one.
pub struct Shared<'a, T> {
    start: *mut T,
    length: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a mutable slice; whoever takes a part promises that nobody else has it.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// `slice`, to be handed out in parts.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), slice: PhantomData }
    }

    /// The part `from..from + length`.
    ///
    /// # Panics
    /// If it does not lie in the slice.
    ///
    /// # Safety
    /// No other part that overlaps it is alive.
    #[expect(clippy::mut_from_ref, reason = "the caller promises that parts do not overlap")]
    pub unsafe fn part(&self, from: usize, length: usize) -> &mut [T] {
        assert!(from <= self.length && length <= self.length - from, "a part lies outside");
        // SAFETY: the part lies in the slice, which is borrowed for 'a, and the caller promises
        // that nobody else has it.
        unsafe { slice::from_raw_parts_mut(self.start.add(from), length) }
    }
}
