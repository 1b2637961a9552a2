//! What the host lends to a call for its callbacks: by number, not by address.
//!
//! A plugin that keeps a writer or a sink and calls it later, from another thread or in the middle of its own callback
//! would otherwise reach memory that is somebody else's by then. A number that is not valid here and now reaches
//! nothing.

use std::any::type_name;
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Something that is lent.
struct Entry {
    number: usize,
    kind: &'static str,
    at: *mut c_void,
    /// A callback has it.
    taken: bool,
}

/// Numbers of a thread: 2^40 calls.
const NUMBERS: u32 = 40;

thread_local! {
    static LENT: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
    /// The last number that was given here. Threads begin at different ones.
    static LAST: Cell<usize> = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        Cell::new(THREADS.fetch_add(1, Ordering::Relaxed) << NUMBERS)
    };
}

/// A thing that is lent as long as this lives, to callbacks on this thread.
pub(crate) struct Handle<'a, T> {
    number: usize,
    thing: PhantomData<&'a mut T>,
    /// It is of this thread.
    stays: PhantomData<*const ()>,
}

/// Lends `thing`.
pub(crate) fn lend<T>(thing: &mut T) -> Handle<'_, T> {
    let number = LAST.get() + 1;
    LAST.set(number);
    let at = std::ptr::from_mut(thing).cast();
    let entry = Entry { number, kind: type_name::<T>(), at, taken: false };
    LENT.with_borrow_mut(|lent| lent.push(entry));
    Handle { number, thing: PhantomData, stays: PhantomData }
}

impl<T> Handle<'_, T> {
    /// What a plugin gives back.
    pub(crate) fn context(&self) -> *mut c_void {
        std::ptr::without_provenance_mut(self.number)
    }
}

impl<T> Drop for Handle<'_, T> {
    fn drop(&mut self) {
        LENT.with_borrow_mut(|lent| lent.retain(|entry| entry.number != self.number));
    }
}

/// Does `work` with what is lent as `context`, unless that is nothing, of another kind or of another thread, or this is in
/// the middle of such work.
///
/// # Safety
/// What has this type's name and is lent is of this type, but for its lifetimes, and `work` keeps nothing of those.
pub(crate) unsafe fn reach<T, R>(
    context: *mut c_void,
    work: impl FnOnce(&mut T) -> R,
) -> Option<R> {
    let at = LENT.with_borrow_mut(|lent| {
        let of = |entry: &&mut Entry| entry.number == context.addr() && !entry.taken;
        let entry = lent.iter_mut().rev().find(of)?;
        entry.taken = entry.kind == type_name::<T>();
        entry.taken.then_some(entry.at)
    })?;
    /// Gives it back, also if `work` panics.
    struct Back(usize);
    impl Drop for Back {
        fn drop(&mut self) {
            LENT.with_borrow_mut(|lent| {
                lent.iter_mut()
                    .filter(|entry| entry.number == self.0)
                    .for_each(|e| e.taken = false);
            });
        }
    }
    let _back = Back(context.addr());
    // SAFETY: its handle is alive, as the entry is there, and holds the only reference; nobody else has taken it.
    Some(work(unsafe { &mut *at.cast::<T>() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(context: *mut c_void, number: u32) -> Option<u32> {
        // SAFETY: what is lent here is just what it is.
        unsafe {
            reach(context, |sum: &mut u32| {
                *sum += number;
                *sum
            })
        }
    }

    #[test]
    fn it_is_reached_as_long_as_it_is_lent() {
        let (mut first, mut second) = (1_u32, 10_u32);
        let outer = lend(&mut first);
        let context = outer.context();
        {
            let inner = lend(&mut second);
            assert_eq!((add(inner.context(), 1), add(context, 1)), (Some(11), Some(2)));
        }
        let again = lend(&mut second);
        assert_ne!(again.context(), context);
        drop(outer);
        assert_eq!((add(context, 1), add(again.context(), 1)), (None, Some(12)));
        assert_eq!(add(std::ptr::null_mut(), 1), None);
    }

    #[test]
    fn nobody_else_reaches_it() {
        let mut sum = 1_u32;
        let handle = lend(&mut sum);
        let context = handle.context();
        // SAFETY: as above.
        assert_eq!(unsafe { reach(context, |_: &mut u64| ()) }, None, "of another kind");
        let address = context.addr();
        let elsewhere = std::thread::spawn(move || {
            let mut other = 5_u32;
            let _handle = lend(&mut other);
            add(std::ptr::without_provenance_mut(address), 1)
        });
        assert_eq!(elsewhere.join().unwrap(), None, "from another thread");
        // SAFETY: as above.
        let nested = unsafe { reach(context, |_: &mut u32| add(context, 1)) };
        assert_eq!(nested, Some(None), "in the middle of a callback");
        // SAFETY: as above.
        let panicked = std::panic::catch_unwind(|| unsafe {
            reach(context, |_: &mut u32| std::panic::resume_unwind(Box::new(())))
        });
        assert!(panicked.is_err());
        assert_eq!(add(context, 1), Some(2));
    }
}
