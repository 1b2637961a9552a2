//! Laws of the selector slot.
