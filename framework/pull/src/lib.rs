//! Models, data and native libraries by name, fetched through pip, verified and cached
