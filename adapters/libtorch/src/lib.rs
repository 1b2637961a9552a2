//! Side networks in libtorch, on the CPU or a CUDA device
