//! Laws of the fakes slot.
