//! Rules that the source tree keeps: modules and crates depend on one another in layers, without
//! circles, prose is written in the terms of the glossary, links lead somewhere, and each threat has a test.
//!
//! The rules read source text, not compiled code, so that one run covers every crate.

mod imports;
mod layers;
mod lexer;
mod links;
mod manifest;
mod plain_language;
mod threat_model;
mod tree;
