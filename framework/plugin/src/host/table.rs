//! The tables of the slots, and how those of older and newer libraries are read.

use std::any::Any;
use std::mem::{MaybeUninit, offset_of};

use mobillm_core::registry::Slot;

use crate::abi::{
    MOBILLM_SLOT_BACKBONE, MOBILLM_SLOT_PRIVACY_POLICY, MOBILLM_SLOT_QUANTIZER,
    MOBILLM_SLOT_SELECTOR, MOBILLM_SLOT_SIDE_NETWORK, MOBILLM_SLOT_TRANSPORT, MobillmBackbone,
    MobillmComponent, MobillmPlugin, MobillmPrivacyPolicy, MobillmQuantizer, MobillmSelector,
    MobillmSideNetwork, MobillmSlot, MobillmTransport,
};

/// What grows at its end: a library may have an older one or a newer one than this host.
///
/// # Safety
/// From [`FROM`](Self::FROM) to [`BASE`](Self::BASE) there are just words, numbers and functions, and zeros are a value of what
/// lies behind.
pub(crate) unsafe trait Growing: Copy {
    /// Bytes up to the end of version 1.0: never more, whatever is appended.
    const BASE: usize;
    /// Where that begins of which nothing may be 0.
    const FROM: usize = 0;
}

// SAFETY: its functions end version 1.0, and nothing lies behind them.
unsafe impl Growing for MobillmPlugin {
    const BASE: usize = offset_of!(Self, table) + size_of::<usize>();
    const FROM: usize = offset_of!(Self, start);
}

/// A slot's table.
pub(crate) trait Table: Growing + Any + Send + Sync {
    const SLOT: Slot;
    const CODE: MobillmSlot;
    fn component(&self) -> &MobillmComponent;
}

macro_rules! tables {
    ($($table:ident $slot:ident $code:ident, 1.0 ends in $last:ident;)*) => {$(
        // SAFETY: all up to the last field of version 1.0 is words, and nothing lies behind it.
        unsafe impl Growing for $table {
            const BASE: usize = offset_of!($table, $last) + size_of::<usize>();
        }

        impl Table for $table {
            const SLOT: Slot = Slot::$slot;
            const CODE: MobillmSlot = $code;
            fn component(&self) -> &MobillmComponent { &self.component }
        }
    )*};
}

tables! {
    MobillmBackbone Backbone MOBILLM_SLOT_BACKBONE, 1.0 ends in forward;
    MobillmSelector Selector MOBILLM_SLOT_SELECTOR, 1.0 ends in select;
    MobillmPrivacyPolicy PrivacyPolicy MOBILLM_SLOT_PRIVACY_POLICY, 1.0 ends in combine;
    MobillmQuantizer Quantizer MOBILLM_SLOT_QUANTIZER, 1.0 ends in decode;
    MobillmTransport Transport MOBILLM_SLOT_TRANSPORT, 1.0 ends in release_source;
    MobillmSideNetwork SideNetwork MOBILLM_SLOT_SIDE_NETWORK, 1.0 ends in restore;
}

/// A table as this host knows it, of one that may be older or newer.
///
/// # Errors
/// If it lacks something of version 1.0.
///
/// # Safety
/// The pointer, if it is aligned, points to a table that begins with its size.
pub(crate) unsafe fn table<T: Table>(table: *const T) -> Result<T, String> {
    if !table.is_aligned() {
        return Err(format!("the table is at {table:?}"));
    }
    // SAFETY: every table begins with its size.
    let size = unsafe { *table.cast::<usize>() };
    // SAFETY: there are so many bytes, as the caller promises.
    unsafe { whole(table, size) }.map_err(|problem| format!("the table has {problem}"))
}

/// What is known here of something that has `size` bytes: what an older one lacks is 0, what a newer one has beside is
/// left out.
///
/// # Errors
/// If it is too short or a function is null: what an author in C left out is one, which no reference may lead to.
///
/// # Safety
/// There are `size` bytes, from an aligned address on.
pub(crate) unsafe fn whole<T: Growing>(of: *const T, size: usize) -> Result<T, String> {
    if size < T::BASE {
        return Err(format!("{size} bytes, expected at least {}", T::BASE));
    }
    for word in (T::FROM..T::BASE).step_by(size_of::<usize>()) {
        // SAFETY: there are words, as `Growing` promises.
        if unsafe { *of.byte_add(word).cast::<usize>() } == 0 {
            return Err(format!("a null at byte {word}, expected a function"));
        }
    }
    let mut whole = MaybeUninit::<T>::zeroed();
    // Of a function that is only half there nothing is taken.
    let bytes = size.min(size_of::<T>()) / size_of::<usize>() * size_of::<usize>();
    // SAFETY: there are so many bytes on both sides; the rest is zeros, which `Growing` says are a value.
    unsafe {
        whole.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(of.cast::<u8>(), bytes);
        Ok(whole.assume_init())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of a later version, by which a function was appended.
    #[derive(Clone, Copy)]
    #[repr(C)]
    struct Later {
        size: usize,
        first: extern "C" fn() -> u32,
        appended: Option<extern "C" fn() -> u32>,
    }

    // SAFETY: a number and a function, and then what zeros are a value of.
    unsafe impl Growing for Later {
        const BASE: usize = offset_of!(Later, first) + size_of::<usize>();
    }

    extern "C" fn seven() -> u32 {
        7
    }

    #[test]
    fn an_older_table_lacks_what_came_later_and_a_newer_one_is_cut() {
        // The older one ends before what is appended: the word behind it is somebody else's.
        let older = [Later::BASE, seven as *const () as usize, 0xbad];
        // SAFETY: so many bytes there are.
        let read = unsafe { whole(older.as_ptr().cast::<Later>(), Later::BASE) }.unwrap();
        assert_eq!(((read.first)(), read.appended.is_none()), (7, true));
        // SAFETY: as above.
        let half = unsafe { whole(older.as_ptr().cast::<Later>(), Later::BASE + 7) }.unwrap();
        assert!(half.appended.is_none());
        let newer = [size_of::<Later>() + 8, older[1], older[1], 0xbad];
        // SAFETY: as above.
        let read = unsafe { whole(newer.as_ptr().cast::<Later>(), newer[0]) }.unwrap();
        assert_eq!(read.appended.map(|appended| appended()), Some(7));
    }

    #[test]
    fn nothing_of_the_first_version_may_lack() {
        let said = |words: [usize; 2]| {
            // SAFETY: there are two words.
            unsafe { whole(words.as_ptr().cast::<Later>(), words[0]) }.err().unwrap()
        };
        assert_eq!(said([Later::BASE - 8, 1]), "8 bytes, expected at least 16");
        assert_eq!(said([Later::BASE, 0]), "a null at byte 8, expected a function");
    }
}
