//! Tests of the test cloud.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod documents;
