//! Tests of whole configurations.

mod errors;
mod forms;
mod hostile;
mod kuadrant;
mod kubernetes;
mod limits;
mod schema;
