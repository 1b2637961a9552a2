//! Laws of the quantizer slot.
