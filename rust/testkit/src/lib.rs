//! Tests about the workspace itself: its layers, its licences. There is no code here, only `tests/`.
