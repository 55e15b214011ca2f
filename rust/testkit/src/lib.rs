//! Fakes, small named clusters and the layering test.
