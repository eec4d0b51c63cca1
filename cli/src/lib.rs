//! What the program `tollgate` does, for tests that use it as a library.

pub mod amounts;
pub mod explain;
pub mod log;
pub mod plays;
pub mod render;
pub mod replay;
pub mod requests;
pub mod simulate;
pub mod sketch;
pub mod usage;
