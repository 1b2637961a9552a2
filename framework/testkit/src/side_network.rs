//! Laws of the side network slot.
