//! Real peers of tollgate: manifests for Istio and Prometheus are in `manifests/`. Rate limit
//! services, and the tests that need them, come with the storages that speak to them.
