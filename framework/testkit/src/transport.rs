//! Laws of the transport slot: a transport and its links.
//!
//! [`transport_conformance!`](crate::transport_conformance) makes a test of each; [`conformance`] holds
//! them all at once, within a tokio runtime of the caller's:
//!
//! ```
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! use mobillm_core::transport::TransportConfig;
//! use mobillm_testkit::transport::{Limits, conformance};
//! use mobillm_transport_in_memory::InMemoryConfig;
//!
//! let make = || InMemoryConfig::default().build();
//! conformance(make, Limits { max_frame_bytes: None }).await;
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Laws
//!
//! Each runs in a tokio runtime of its own, and waits at most half a minute for what should happen soon.
//!
//! * `frames_arrive_whole_and_in_order`: of any length, both ways at once, whatever lane the sender hints at.
//! * `a_slow_reader_holds_the_writer_back`: a writer stands still while nobody reads, and goes on when
//!   somebody does: memory stays bounded.
//! * `closing_a_sink_ends_the_other_source`: after all that was sent; closing twice is fine, sending
//!   afterwards is not.
//! * `closing_one_way_leaves_the_other_open`: frames still come from the other end.
//! * `dropping_a_link_unblocks_who_waits`: a reader and a writer at the other end.
//! * `a_frame_that_was_cut_does_not_arrive`: all of it comes, or nothing.
//! * `a_receive_that_is_given_up_loses_nothing`: the next one has the frame.
//! * `links_do_not_mix`: several at a time over one listener.
//! * `a_second_listener_is_refused_and_a_later_one_is_not`: one at an address, until it is dropped.
//! * `an_oversize_frame_is_refused_and_the_link_stays`: by sizes, before anything is sent. Only where
//!   `Limits` say what is too large.

mod links;
#[cfg(test)]
mod mutants;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;

use mobillm_core::transport::Transport;

use crate::law::Law;

/// What a transport does not take.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Bytes of the largest frame, where there is a limit. Set it low: such a frame is sent.
    pub max_frame_bytes: Option<usize>,
}

/// Makes a module of tests, one for each law, of what a closure makes: a boxed [`Transport`] whose two ends
/// find each other. [`Limits`] may follow; the module has the name that is given, or `conformance`.
///
/// ```
/// use mobillm_core::transport::TransportConfig;
/// use mobillm_transport_in_memory::InMemoryConfig;
///
/// mobillm_testkit::transport_conformance!(in_memory, || InMemoryConfig::default().build());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! transport_conformance {
    (@laws $then:ident $($given:tt)*) => {
        $crate::$then! {
            [
                frames_arrive_whole_and_in_order
                a_slow_reader_holds_the_writer_back
                closing_a_sink_ends_the_other_source
                closing_one_way_leaves_the_other_open
                dropping_a_link_unblocks_who_waits
                a_frame_that_was_cut_does_not_arrive
                a_receive_that_is_given_up_loses_nothing
                links_do_not_mix
                a_second_listener_is_refused_and_a_later_one_is_not
                an_oversize_frame_is_refused_and_the_link_stays
            ]
            $($given)*
        }
    };
    ($module:ident, $make:expr, $limits:expr $(,)?) => {
        $crate::transport_conformance! { @laws __law_tests $module, |name: &str| {
            $crate::law::hold(&$crate::transport::laws($make, $limits), name)
        } }
    };
    ($module:ident, $make:expr $(,)?) => {
        $crate::transport_conformance! { $module, $make, $crate::transport::Limits::default() }
    };
    ($make:expr $(,)?) => {
        $crate::transport_conformance! { conformance, $make }
    };
}

/// Runs every law, in the runtime that this is called in. `make` builds an instance whose two ends find each
/// other: what one `connect`s, its own `listen` accepts.
///
/// # Panics
/// With the law that the transport breaks.
pub async fn conformance(make: impl Fn() -> Box<dyn Transport>, limits: Limits) {
    for (name, holds) in LAWS {
        if exempt(name, limits).is_none() {
            holds(make().as_ref(), limits.most()).await;
        }
    }
}

/// Every law, each in a runtime of its own, for what `make` builds: instances like those of [`conformance`].
pub fn laws<'a>(make: impl Fn() -> Box<dyn Transport> + Copy + 'a, limits: Limits) -> Vec<Law<'a>> {
    let law = |(name, holds): (&'static str, Holds)| {
        let held = move || in_runtime(async { holds(make().as_ref(), limits.most()).await });
        Law::new(name, held).unless(move || exempt(name, limits))
    };
    LAWS.map(law).into()
}

/// A law of links that take frames of so many bytes.
type Holds = for<'a> fn(&'a dyn Transport, usize) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Every law with its name. One of frames over the limit is the last.
const LAWS: [(&str, Holds); 10] = [
    ("frames_arrive_whole_and_in_order", |transport, most| {
        Box::pin(links::frames_arrive_whole_and_in_order(transport, most))
    }),
    ("a_slow_reader_holds_the_writer_back", |transport, most| {
        Box::pin(links::a_slow_reader_holds_the_writer_back(transport, most))
    }),
    ("closing_a_sink_ends_the_other_source", |transport, _| {
        Box::pin(links::closing_a_sink_ends_the_other_source(transport))
    }),
    ("closing_one_way_leaves_the_other_open", |transport, _| {
        Box::pin(links::closing_one_way_leaves_the_other_open(transport))
    }),
    ("dropping_a_link_unblocks_who_waits", |transport, most| {
        Box::pin(links::dropping_a_link_unblocks_who_waits(transport, most))
    }),
    ("a_frame_that_was_cut_does_not_arrive", |transport, most| {
        Box::pin(links::a_frame_that_was_cut_does_not_arrive(transport, most))
    }),
    ("a_receive_that_is_given_up_loses_nothing", |transport, most| {
        Box::pin(links::a_receive_that_is_given_up_loses_nothing(transport, most))
    }),
    ("links_do_not_mix", |transport, _| Box::pin(links::links_do_not_mix(transport))),
    ("a_second_listener_is_refused_and_a_later_one_is_not", |transport, _| {
        Box::pin(links::a_second_listener_is_refused_and_a_later_one_is_not(transport))
    }),
    (OVERSIZE, |transport, most| {
        Box::pin(links::an_oversize_frame_is_refused_and_the_link_stays(transport, most))
    }),
];

const OVERSIZE: &str = "an_oversize_frame_is_refused_and_the_link_stays";

/// Why the law `name` is not for links of these limits, if it is not.
fn exempt(name: &str, limits: Limits) -> Option<String> {
    let is_unlimited = name == OVERSIZE && limits.max_frame_bytes.is_none();
    is_unlimited.then(|| "no frame is said to be too large".to_owned())
}

impl Limits {
    fn most(self) -> usize {
        self.max_frame_bytes.unwrap_or(usize::MAX)
    }
}

/// Does `work` in a runtime that does not wait for what `work` leaves behind.
fn in_runtime(work: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("there is no runtime: {error}"));
    let done = catch_unwind(AssertUnwindSafe(|| runtime.block_on(work)));
    runtime.shutdown_background();
    done.unwrap_or_else(|panic| resume_unwind(panic));
}
