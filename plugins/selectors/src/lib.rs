//! Selectors: which layers are tapped and which tokens leave the device
