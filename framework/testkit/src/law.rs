//! Laws as data: what a table of them is made of, and what each test of a suite holds.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a component fares under a law.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It keeps the law.
    Kept,
    /// It breaks the law: what was seen, with a small input that shows it.
    Broken(String),
    /// The law is not for components of its kind: why not.
    Exempt(String),
}

/// A law, together with the component that it is held against.
pub struct Law<'a> {
    name: &'static str,
    holds: Box<dyn Fn() + 'a>,
    exempts: Box<dyn Fn() -> Option<String> + 'a>,
}

impl<'a> Law<'a> {
    /// The law `name`, an identifier as functions have; `holds` panics with the reason if it is broken.
    pub fn new(name: &'static str, holds: impl Fn() + 'a) -> Self {
        Self { name, holds: Box::new(holds), exempts: Box::new(|| None) }
    }

    /// The same, but only where `exempts` gives no reason why it is not for this component.
    pub fn unless(self, exempts: impl Fn() -> Option<String> + 'a) -> Self {
        Self { exempts: Box::new(exempts), ..self }
    }

    /// Its name: that of its test.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Tries it.
    ///
    /// The panic that breaks a law ends here, but the hook that prints it has run before.
    pub fn run(&self) -> Verdict {
        let tried = catch_unwind(AssertUnwindSafe(|| {
            let exempt = (self.exempts)();
            if exempt.is_none() {
                (self.holds)();
            }
            exempt
        }));
        match tried {
            Ok(None) => Verdict::Kept,
            Ok(Some(why)) => Verdict::Exempt(why),
            Err(panic) => Verdict::Broken(said(&*panic)),
        }
    }

    /// Tries it, as a test does. Of what it is not for it says so, and passes.
    ///
    /// # Panics
    /// If it is broken, with its name and the reason.
    pub fn hold(&self) {
        match self.run() {
            Verdict::Kept => {}
            Verdict::Broken(reason) => panic!("broken law: {self}\n{reason}"),
            Verdict::Exempt(why) => println!("not for this component: {self} ({why})"),
        }
    }
}

impl fmt::Display for Law<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name.replace('_', " "))
    }
}

impl fmt::Debug for Law<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Law({})", self.name)
    }
}

/// Tries all of `laws`, one after the other.
///
/// # Panics
/// With the first that is broken.
pub(crate) fn hold_all(laws: &[Law<'_>]) {
    laws.iter().for_each(Law::hold);
}

/// Tries the one of `laws` that is called `name`: what a test of a suite does.
///
/// # Panics
/// If it is broken, or if there is no such law.
#[doc(hidden)]
pub fn hold(laws: &[Law<'_>], name: &str) {
    match laws.iter().find(|law| law.name == name) {
        Some(law) => law.hold(),
        None => panic!("there is no law {name} among {laws:?}"),
    }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic that said nothing").to_owned()
}

/// Holds the laws of a component by their names.
#[doc(hidden)]
pub trait Holds {
    /// Holds the law of this name.
    fn hold(name: &str);
}

/// Makes a module of tests, one for each law. What the component is made by stands outside of it, where its names are
/// those of the caller.
#[doc(hidden)]
#[macro_export]
macro_rules! __law_tests {
    ([$($law:ident)*] $module:ident, $hold:expr) => {
        mod $module {
            pub(super) enum Component {}

            $(
                #[test]
                fn $law() {
                    <Component as $crate::law::Holds>::hold(stringify!($law));
                }
            )*
        }

        impl $crate::law::Holds for $module::Component {
            fn hold(name: &str) {
                ($hold)(name)
            }
        }
    };
}

/// The names of the laws that are made tests of.
#[cfg(test)]
#[macro_export]
macro_rules! __law_names {
    ([$($law:ident)*]) => {
        [$(stringify!($law)),*]
    };
}

#[cfg(test)]
mod tests {
    use mobillm_adapter_candle::CandleSideNetworkConfig;
    use mobillm_privacy::LabelsConfig;
    use mobillm_selectors::LossTokensConfig;

    use super::*;
    use crate::transport::Limits;
    use crate::{backbone, privacy, quantizer, selector, side_network, transport};

    #[test]
    fn every_law_is_made_a_test_of() {
        fn names(laws: &[Law<'_>]) -> Vec<&'static str> {
            laws.iter().map(Law::name).collect()
        }
        let of_backbones = backbone::laws(|_| unreachable!("no law is tried"));
        assert_eq!(names(&of_backbones), crate::backbone_conformance! { @laws __law_names });
        let of_selectors = selector::laws(&LossTokensConfig {});
        assert_eq!(names(&of_selectors), crate::selector_conformance! { @laws __law_names });
        let labels = LabelsConfig::default();
        let of_policies = privacy::laws(&labels);
        assert_eq!(names(&of_policies), crate::privacy_policy_conformance! { @laws __law_names });
        let of_quantizers = quantizer::laws(|| unreachable!("no law is tried"));
        assert_eq!(names(&of_quantizers), crate::quantizer_conformance! { @laws __law_names });
        let of_transports = transport::laws(|| unreachable!("no law is tried"), Limits::default());
        assert_eq!(names(&of_transports), crate::transport_conformance! { @laws __law_names });
        let candle = CandleSideNetworkConfig::default();
        let of_networks = side_network::laws(&candle);
        assert_eq!(names(&of_networks), crate::side_network_conformance! { @laws __law_names });
    }

    #[test]
    fn the_docs_of_a_suite_list_its_laws() {
        let suites = [
            (include_str!("backbone.rs"), &crate::backbone_conformance! { @laws __law_names }[..]),
            (include_str!("selector.rs"), &crate::selector_conformance! { @laws __law_names }),
            (include_str!("privacy.rs"), &crate::privacy_policy_conformance! { @laws __law_names }),
            (include_str!("quantizer.rs"), &crate::quantizer_conformance! { @laws __law_names }),
            (include_str!("transport.rs"), &crate::transport_conformance! { @laws __law_names }),
            (
                include_str!("side_network.rs"),
                &crate::side_network_conformance! { @laws __law_names },
            ),
        ];
        for (source, laws) in suites {
            let listed = source.lines().filter_map(|line| line.strip_prefix("//! * `"));
            let listed: Vec<&str> =
                listed.filter_map(|line| Some(line.split_once('`')?.0)).collect();
            assert_eq!(listed, laws);
        }
    }

    #[test]
    fn a_law_is_kept_broken_or_not_for_the_component() {
        let kept = Law::new("it_stands", || ());
        let broken = || Law::new("it_stands", || panic!("it fell at {}", 3));
        let exempt = broken().unless(|| Some("it lies".to_owned()));
        assert_eq!(kept.run(), Verdict::Kept);
        assert_eq!(broken().run(), Verdict::Broken("it fell at 3".to_owned()));
        assert_eq!(exempt.run(), Verdict::Exempt("it lies".to_owned()));
        hold_all(&[kept, exempt]);
        let panic = catch_unwind(|| broken().hold()).unwrap_err();
        assert_eq!(said(&*panic), "broken law: it stands\nit fell at 3");
    }

    #[test]
    fn a_test_of_an_unknown_law_fails() {
        let hold = || hold(&[Law::new("it_stands", || ())], "it_falls");
        assert!(catch_unwind(hold).is_err());
    }
}
