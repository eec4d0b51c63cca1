//! The host on the ABI.
