//! The backbone bundle: manifest, weights, tokenizer and graph of one frozen model
