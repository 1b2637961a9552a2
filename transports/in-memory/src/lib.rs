//! A transport between two threads of one process
