//! What every side network engine shares: architecture, initial weights, schedule and the adapter file
