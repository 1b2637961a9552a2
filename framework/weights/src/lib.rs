//! How the matrices of a frozen model are stored: f32, f16, 8 and 4 bit blocks, int8 rows.
