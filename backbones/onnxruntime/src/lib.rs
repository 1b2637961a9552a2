//! A frozen backbone in ONNX Runtime whose taps stream while the graph runs
