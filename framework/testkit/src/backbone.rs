//! Laws of the backbone slot.
