//! The kit for authors in Rust: the same type fills a slot linked in or loaded.
//!
//! A component is a config twin as the host's own plugins have one:
//! [`Plugin`](mobillm_core::registry::Plugin) for slot, tag and schema, serde for its options, and the slot's
//! trait. [`export!`](crate::export) makes a library's door of a list of them.

mod backbone;
mod component;
mod door;
mod list;
mod log;
mod privacy;
mod quantizer;
mod selector;
mod side_network;
mod thunk;
#[cfg(feature = "transport")]
mod transport;

#[doc(hidden)]
pub use door::{BUILT_BY, components, start, table};
pub use list::{Components, Exports, Maker, Twin};
pub use log::{Level, log};

/// Makes the door of a library: the function that a host looks for, and all that it leads to.
///
/// Name the config twins, slot by slot: `backbones`, `selectors`, `privacy_policies`, `quantizers`, `transports`,
/// `side_networks`; leave out what there is none of. Transports need the feature `transport` of this crate.
///
/// A program has one such door. A crate that may be linked in as well puts the macro behind a feature of its own,
/// on by default, as `examples/plugins/rust` does: who links it in leaves that out.
///
/// ```
/// use mobillm_quantizers::{Fp16Config, Nf4Config};
///
/// mobillm_plugin::export! {
///     quantizers: [Fp16Config, Nf4Config],
/// }
/// # fn main() {
/// # // SAFETY: the door is of this macro.
/// let library = unsafe { mobillm_plugin::Library::linked("example", mobillm_plugin) }.unwrap();
/// assert_eq!(library.components.len(), 2);
/// # }
/// ```
#[macro_export]
macro_rules! export {
    ($($slots:tt)*) => {
        $crate::door! {
            /// The door: what a host looks for in a plugin.
            #[unsafe(no_mangle)]
            pub fn mobillm_plugin;
            $($slots)*
        }
    };
}

/// The door of [`export!`](crate::export) under a name of your own, for [`Library::linked`](crate::Library::linked): a
/// program has one symbol `mobillm_plugin`, and what it links may have taken it.
///
/// ```
/// mobillm_plugin::door! {
///     fn example;
///     quantizers: [mobillm_quantizers::Nf4Config],
/// }
/// # fn main() {
/// // SAFETY: the door is of this macro.
/// let library = unsafe { mobillm_plugin::Library::linked("example", example) }.unwrap();
/// assert_eq!(library.components[0].tag, "nf4");
/// # }
/// ```
#[macro_export]
macro_rules! door {
    (
        $(#[$attribute:meta])* $visibility:vis fn $door:ident;
        $($slot:ident: [$($component:ty),* $(,)?]),* $(,)?
    ) => {
        const _: () = assert!(
            cfg!(panic = "unwind"),
            "a plugin is built with panic = \"unwind\": one that aborts ends the program that loads it"
        );

        $(#[$attribute])*
        $visibility unsafe extern "C" fn $door() -> *const $crate::abi::MobillmPlugin {
            /// What this library has.
            struct MobillmExports;

            impl $crate::sdk::Exports for MobillmExports {
                fn components() -> $crate::sdk::Components {
                    let mut components = $crate::sdk::Components::default();
                    $(components.$slot.extend([$($crate::sdk::Maker::of::<$component>()),*]);)*
                    components
                }
            }

            static DOOR: $crate::abi::MobillmPlugin = $crate::abi::MobillmPlugin {
                magic: $crate::abi::MAGIC,
                major: $crate::abi::MAJOR,
                minor: $crate::abi::MINOR,
                size: size_of::<$crate::abi::MobillmPlugin>(),
                name: $crate::abi::MobillmText::of(env!("CARGO_PKG_NAME")),
                version: $crate::abi::MobillmText::of(env!("CARGO_PKG_VERSION")),
                built_by: $crate::abi::MobillmText::of($crate::sdk::BUILT_BY),
                start: $crate::sdk::start,
                components: $crate::sdk::components::<MobillmExports>,
                table: $crate::sdk::table::<MobillmExports>,
            };
            &DOOR
        }
    };
}
