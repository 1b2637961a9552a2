//! Privacy policies: what the server is told about a sample beside its activations
