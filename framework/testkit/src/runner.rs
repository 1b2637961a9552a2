//! How the laws are tried.

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestRunner};

/// Tries `holds` on many values of `strategy`.
///
/// # Panics
/// With the law that is broken, and with the smallest value found that breaks it.
pub(crate) fn law<S: Strategy>(strategy: &S, holds: impl Fn(S::Value)) {
    // A suite is called from the plugin's crate: there is no file here to keep failures beside. The
    // values are small as they come, and each try at a smaller one is a panic with its backtrace.
    let config = Config { failure_persistence: None, max_shrink_iters: 8, ..Config::default() };
    let result = TestRunner::new(config).run(strategy, |value| {
        holds(value);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
