//! Snapshots of everything that users read
