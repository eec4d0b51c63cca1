//! Reads the tokens that a response used, as its bytes pass.
