//! Encryption at rest with age.
