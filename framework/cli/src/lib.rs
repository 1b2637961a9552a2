//! The mobillm command
