//! Calls that do not come back: nobody can end them, but somebody can say so.

use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::instance::Name;

/// How often it is looked.
const BEAT: Duration = Duration::from_millis(250);

/// A call that has not come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hang {
    /// Slot, tag and library.
    pub name: String,
    /// The function of the slot's table.
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

/// Counts the calls of an instance, so that one that hangs is seen from outside. Costs a call three stores.
pub(crate) struct Pulse {
    name: Arc<Name>,
    entered: AtomicU64,
    left: AtomicU64,
    /// The call that was entered last.
    call: AtomicPtr<&'static str>,
}

/// The pulses of all instances of this process.
fn pulses() -> &'static Mutex<Vec<Weak<Pulse>>> {
    static PULSES: OnceLock<Mutex<Vec<Weak<Pulse>>>> = OnceLock::new();
    PULSES.get_or_init(Mutex::default)
}

impl Pulse {
    pub(crate) fn new(name: Arc<Name>) -> Arc<Self> {
        let pulse = Arc::new(Self {
            name,
            entered: AtomicU64::new(0),
            left: AtomicU64::new(0),
            call: AtomicPtr::new(std::ptr::null_mut()),
        });
        let mut pulses = pulses().lock().unwrap_or_else(PoisonError::into_inner);
        pulses.retain(|pulse| pulse.strong_count() > 0);
        pulses.push(Arc::downgrade(&pulse));
        pulse
    }

    #[inline]
    pub(crate) fn enter(&self, call: &'static &'static str) {
        self.call.store(std::ptr::from_ref(call).cast_mut(), Ordering::Relaxed);
        self.entered.fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn leave(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    /// Calls that came back, if one is out.
    pub(super) fn out(&self) -> Option<u64> {
        let left = self.left.load(Ordering::Relaxed);
        (self.entered.load(Ordering::Relaxed) > left).then_some(left)
    }

    fn call(&self) -> &'static str {
        // SAFETY: what is stored is null or a reference that lives for ever.
        unsafe { self.call.load(Ordering::Relaxed).as_ref() }.copied().unwrap_or_default()
    }
}

/// Tells `report` of every call that takes longer than `patience`, once, from a thread that ends with the process.
///
/// Of an instance that several threads call at a time it is told once none of its calls comes back any more.
/// A call that waits by its nature, such as `receive`, is not counted.
pub fn watch(patience: Duration, report: impl Fn(Hang) + Send + 'static) -> std::io::Result<()> {
    let look = move || {
        let mut seen: Vec<(Weak<Pulse>, u64, Instant, bool)> = Vec::new();
        loop {
            std::thread::sleep(BEAT.min(patience / 4));
            let pulses = pulses().lock().unwrap_or_else(PoisonError::into_inner).clone();
            let mut now_out = Vec::new();
            for weak in pulses {
                let Some((pulse, left)) =
                    weak.upgrade().and_then(|p| p.out().map(|left| (p, left)))
                else {
                    continue;
                };
                let known = seen.iter().find(|(other, at, ..)| other.ptr_eq(&weak) && *at == left);
                let (since, told) =
                    known.map_or((Instant::now(), false), |&(.., since, told)| (since, told));
                let waited = since.elapsed();
                let late = waited >= patience;
                if late && !told {
                    report(Hang {
                        name: pulse.name.to_string(),
                        call: pulse.call().to_owned(),
                        waited,
                    });
                }
                now_out.push((weak, left, since, told || late));
            }
            seen = now_out;
        }
    };
    std::thread::Builder::new().name("plugin watch".to_owned()).spawn(look).map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use mobillm_core::registry::Slot;

    use super::*;

    #[test]
    fn a_call_that_does_not_come_back_is_told_once() {
        let name = Name { library: "acme".into(), slot: Slot::Quantizer, tag: "acme.slow".into() };
        let (slow, quick) = (Pulse::new(Arc::new(name.clone())), Pulse::new(Arc::new(name)));
        let (tell, told) = mpsc::channel();
        watch(Duration::from_millis(40), move |hang| drop(tell.send(hang))).unwrap();
        quick.enter(&"decode");
        quick.leave();
        slow.enter(&"encode");
        let hang = told.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!((&*hang.call, &*hang.name), ("encode", "quantizer `acme.slow` of acme"));
        slow.leave();
        slow.enter(&"encode");
        assert!(told.recv_timeout(Duration::from_secs(60)).is_ok(), "another call is told again");
    }
}
