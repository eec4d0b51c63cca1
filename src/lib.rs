//! tollgate: a Proxy-Wasm filter.
