//! Laws of the privacy slot.
