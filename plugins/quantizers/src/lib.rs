//! Block-wise absmax quantizers: nf4, fp4, int8, and fp16 and none beside them
