//! Tests of whole configurations.

mod errors;
mod forms;
mod hostile;
mod limits;
mod schema;
