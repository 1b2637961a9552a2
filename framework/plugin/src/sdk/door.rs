//! The functions of a library's header.

use std::ffi::c_void;

use mobillm_core::registry::Slot;
use schemars::Schema;
use serde::Serialize;

use super::backbone::BackboneDoor;
use super::list::{Exports, Maker};
use super::log::keep;
use super::privacy::PrivacyPolicyDoor;
use super::quantizer::QuantizerDoor;
use super::selector::SelectorDoor;
use super::side_network::SideNetworkDoor;
use super::thunk::{Ending, guard, write_json};
use crate::abi::{
    MINOR, MOBILLM_SLOT_BACKBONE, MOBILLM_SLOT_PRIVACY_POLICY, MOBILLM_SLOT_QUANTIZER,
    MOBILLM_SLOT_SELECTOR, MOBILLM_SLOT_SIDE_NETWORK, MobillmHost, MobillmSlot, MobillmStatus,
    MobillmWriter,
};
use crate::layout::one;

/// The compiler of this library.
pub const BUILT_BY: &str = env!("MOBILLM_RUSTC");

/// Keeps the host, for [`log`](super::log()).
///
/// # Safety
/// The host is null or lives for ever; the writer is the host's, lent for the call.
pub unsafe extern "C" fn start(
    host: *const MobillmHost,
    error: *const MobillmWriter,
) -> MobillmStatus {
    // SAFETY: as the caller promises.
    unsafe {
        guard(error, || {
            keep(one("host", host).map_err(Ending::Refused)?);
            Ok(())
        })
    }
}

#[derive(Serialize)]
struct Component {
    slot: Slot,
    tag: &'static str,
    schema: Schema,
}

/// Writes what `E` has.
///
/// # Safety
/// The writers are the host's, lent for the call.
pub unsafe extern "C" fn components<E: Exports>(
    out: *const MobillmWriter,
    error: *const MobillmWriter,
) -> MobillmStatus {
    fn list<C: ?Sized>(slot: Slot, makers: Vec<Maker<C>>) -> impl Iterator<Item = Component> {
        makers.into_iter().map(move |maker| Component {
            slot,
            tag: maker.tag,
            schema: (maker.schema)(),
        })
    }
    let work = || {
        let all = E::components();
        #[cfg(feature = "transport")]
        let transports = list(Slot::Transport, all.transports);
        #[cfg(not(feature = "transport"))]
        let transports = [];
        let all: Vec<Component> = list(Slot::Backbone, all.backbones)
            .chain(list(Slot::Selector, all.selectors))
            .chain(list(Slot::PrivacyPolicy, all.privacy_policies))
            .chain(list(Slot::Quantizer, all.quantizers))
            .chain(transports)
            .chain(list(Slot::SideNetwork, all.side_networks))
            .collect();
        // SAFETY: as the caller promises.
        unsafe { write_json(out, &all) }
    };
    // SAFETY: as the caller promises.
    unsafe { guard(error, work) }
}

/// The table of a slot.
///
/// # Safety
/// None is needed; it has the type that the header asks for.
pub unsafe extern "C" fn table<E: Exports>(slot: MobillmSlot, min_minor: u32) -> *const c_void {
    if min_minor > MINOR {
        return std::ptr::null();
    }
    match slot {
        MOBILLM_SLOT_BACKBONE => std::ptr::from_ref(BackboneDoor::<E>::TABLE).cast(),
        MOBILLM_SLOT_SELECTOR => std::ptr::from_ref(SelectorDoor::<E>::TABLE).cast(),
        MOBILLM_SLOT_PRIVACY_POLICY => std::ptr::from_ref(PrivacyPolicyDoor::<E>::TABLE).cast(),
        MOBILLM_SLOT_QUANTIZER => std::ptr::from_ref(QuantizerDoor::<E>::TABLE).cast(),
        #[cfg(feature = "transport")]
        crate::abi::MOBILLM_SLOT_TRANSPORT => {
            std::ptr::from_ref(super::transport::TransportDoor::<E>::TABLE).cast()
        }
        MOBILLM_SLOT_SIDE_NETWORK => std::ptr::from_ref(SideNetworkDoor::<E>::TABLE).cast(),
        _ => std::ptr::null(),
    }
}
