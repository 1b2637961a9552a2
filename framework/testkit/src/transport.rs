//! Laws of the transport slot.
