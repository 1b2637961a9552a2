//! The ONNX format as messages, and the residual stream in a graph that somebody else exported.
