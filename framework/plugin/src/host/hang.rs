//! Calls that do not come back: nobody can end them, but somebody can say so.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::instance::Name;

/// How often it is looked.
const BEAT: Duration = Duration::from_millis(250);

/// A call that has not come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hang {
    /// Slot, tag and library; of a function of the header the library alone.
    pub name: String,
    /// The function of the table or header.
    pub call: String,
    /// For how long.
    pub waited: Duration,
}

impl std::fmt::Display for Hang {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, call, waited } = self;
        write!(f, "{name}: {call} has not come back for {} s", waited.as_secs())
    }
}

/// A function on the other side, and whose it is.
#[derive(Clone, Copy)]
struct Call {
    name: &'static Name,
    function: &'static &'static str,
}

/// What a thread is out for. Only that thread writes it, so a call costs a few plain stores.
struct Pulse {
    /// Goes up whenever something begins or ends.
    beats: AtomicU64,
    /// Null if no call is out.
    name: AtomicPtr<Name>,
    function: AtomicPtr<&'static str>,
}

/// The pulses of all threads that have called a plugin.
static PULSES: Mutex<Vec<Weak<Pulse>>> = Mutex::new(Vec::new());

thread_local! {
    static PULSE: Arc<Pulse> = Pulse::registered();
}

impl Pulse {
    fn registered() -> Arc<Self> {
        let pulse = Arc::new(Self {
            beats: AtomicU64::new(0),
            name: AtomicPtr::new(std::ptr::null_mut()),
            function: AtomicPtr::new(std::ptr::null_mut()),
        });
        let mut pulses = PULSES.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.retain(|pulse| pulse.strong_count() > 0);
        pulses.push(Arc::downgrade(&pulse));
        pulse
    }

    /// What is out. While the thread goes from one call to the next, the two parts may be of both.
    fn call(&self) -> Option<Call> {
        let (name, function) =
            (self.name.load(Ordering::Acquire), self.function.load(Ordering::Relaxed));
        // SAFETY: what is stored is null or a reference that lives for ever.
        let (name, function) = unsafe { (name.as_ref()?, function.as_ref()?) };
        Some(Call { name, function })
    }

    /// Sets what is out, and gives what was.
    fn beat(&self, next: Option<Call>) -> Option<Call> {
        let before = self.call();
        let name = next.map_or(std::ptr::null(), |call| std::ptr::from_ref(call.name));
        let function = next.map_or(std::ptr::null(), |call| std::ptr::from_ref(call.function));
        self.function.store(function.cast_mut(), Ordering::Relaxed);
        self.name.store(name.cast_mut(), Ordering::Release);
        self.beats.store(self.beats.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        before
    }
}

/// As long as this lives the thread is out for one thing; after that for what it was before.
pub(super) struct Out {
    before: Option<Call>,
    /// It is of this thread.
    stays: PhantomData<*const ()>,
}

impl Out {
    fn new(next: Option<Call>) -> Self {
        // A thread that is ending is not watched any more.
        let before = PULSE.try_with(|pulse| pulse.beat(next)).unwrap_or(None);
        Self { before, stays: PhantomData }
    }
}

impl Drop for Out {
    #[inline]
    fn drop(&mut self) {
        let _ = PULSE.try_with(|pulse| pulse.beat(self.before));
    }
}

/// This thread calls `function` of `name`.
#[inline]
pub(super) fn out(name: &'static Name, function: &'static &'static str) -> Out {
    Out::new(Some(Call { name, function }))
}

/// This thread does the host's own work in the middle of a call: how long that takes is not the plugin's doing.
pub(super) fn back() -> Out {
    Out::new(None)
}

/// Whom [`watch`] tells, and of what.
#[derive(Clone)]
struct Watch {
    patience: Duration,
    report: Arc<dyn Fn(Hang) + Send + Sync>,
}

/// The one who watches, once there is one.
static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

/// Tells `report` of every call that takes longer than `patience`, once, from a thread that ends with the process.
///
/// A call that waits by its nature, such as `receive`, is not counted. There is one who watches: who comes later takes
/// over, also of calls that are out.
///
/// # Errors
/// If the system starts no thread.
pub fn watch(
    patience: Duration,
    report: impl Fn(Hang) + Send + Sync + 'static,
) -> std::io::Result<()> {
    let next = Watch { patience, report: Arc::new(report) };
    let before = WATCH.lock().unwrap_or_else(PoisonError::into_inner).replace(next);
    match before {
        Some(_) => Ok(()),
        None => std::thread::Builder::new().name("plugin watch".to_owned()).spawn(look).map(drop),
    }
}

/// A call that is out: whose thread, at which beat, since when, and whether it was told.
type Seen = (Weak<Pulse>, u64, Instant, bool);

/// Looks at all threads, as long as somebody watches.
fn look() {
    let mut seen: Vec<Seen> = Vec::new();
    loop {
        let Some(watch) = WATCH.lock().unwrap_or_else(PoisonError::into_inner).clone() else {
            return;
        };
        let pulses = PULSES.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen = pulses.into_iter().filter_map(|pulse| look_at(pulse, &seen, &watch)).collect();
        std::thread::sleep(BEAT.min(watch.patience / 4));
    }
}

/// What the thread of `weak` is out for, if for anything, told if that takes too long.
fn look_at(weak: Weak<Pulse>, seen: &[Seen], watch: &Watch) -> Option<Seen> {
    let pulse = weak.upgrade()?;
    let beats = pulse.beats.load(Ordering::Acquire);
    let Call { name, function } = pulse.call()?;
    // Between the two readings another call may have begun: that is for the next look.
    if pulse.beats.load(Ordering::Acquire) != beats {
        return None;
    }
    let known = seen.iter().find(|(other, at, ..)| other.ptr_eq(&weak) && *at == beats);
    let (since, told) = known.map_or((Instant::now(), false), |&(.., since, told)| (since, told));
    let waited = since.elapsed();
    let late = waited >= watch.patience;
    if late && !told {
        (watch.report)(Hang { name: name.to_string(), call: function.to_string(), waited });
    }
    Some((weak, beats, since, told || late))
}

/// Whether this thread is out for a call.
#[cfg(test)]
pub(super) fn is_out() -> bool {
    PULSE.with(|pulse| pulse.call().is_some())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn name(tag: &str) -> &'static Name {
        Box::leak(Box::new(Name::new(tag.to_owned())))
    }

    #[test]
    fn a_call_that_does_not_come_back_is_told_once_whatever_other_threads_call() {
        let (tell, told) = mpsc::channel();
        watch(Duration::from_millis(40), move |hang| drop(tell.send(hang))).unwrap();
        let (slow, quick) = (name("slow"), name("quick"));
        let (done, goes_on) = mpsc::channel::<()>();
        let busy = std::thread::spawn(move || {
            while goes_on.try_recv() == Err(mpsc::TryRecvError::Empty) {
                drop(out(quick, &"decode"));
                drop(out(slow, &"encode"));
            }
        });
        for _ in 0..2 {
            let _call = out(slow, &"encode");
            let hang = told.recv_timeout(Duration::from_secs(60)).unwrap();
            assert_eq!((&*hang.call, &*hang.name), ("encode", "slow"));
        }
        drop(done);
        busy.join().unwrap();
    }

    #[test]
    fn what_is_out_is_what_was_entered_last_and_has_not_ended() {
        let (outer, inner) = (name("outer"), name("inner"));
        let is = || PULSE.with(|pulse| pulse.call().map(|call| call.name.to_string()));
        assert_eq!(is(), None);
        let call = out(outer, &"forward");
        {
            let _host = back();
            assert_eq!(is(), None);
            let _nested = out(inner, &"select");
            assert_eq!(is().as_deref(), Some("inner"));
        }
        assert_eq!(is().as_deref(), Some("outer"));
        drop(call);
        assert_eq!(is(), None);
    }
}
