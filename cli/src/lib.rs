//! What the program `tollgate` does, for tests that use it as a library.

pub mod render;
