//! Reads GGUF files: metadata, tensors, tokenizer.
