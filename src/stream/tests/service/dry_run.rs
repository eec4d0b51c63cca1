//! Dry-run limits at a service.

use crate::stream::tests::service::harness::{CHECK, Gateway, RESERVE};

#[test]
fn dry_run_limits_are_checked_apart() {
    let mut gateway = Gateway::with(r#", "shadow": true"#, CHECK, "");
    assert_eq!(gateway.exchange(60), "admitted");
    assert_eq!(gateway.exchange(60), "shadow_denied");
    assert_eq!(gateway.limitador.total(), 120);
}

#[test]
fn dry_run_is_reported_once() {
    let spec = r#"}, "seen": { "shadow": true, "counters": [{ "expression": "auth.user" }],
        "rates": [{ "limit": 10, "window": "1m" }, { "limit": 900, "window": "1h" }]"#;
    for storage in [RESERVE, CHECK] {
        let mut gateway = Gateway::with(spec, storage, "");
        gateway.exchange(20);
        gateway.exchange(20);
        let used = gateway.limitador.used.values();
        assert_eq!(used.copied().collect::<Vec<_>>(), [40, 40], "{storage}");
        assert!(gateway.limitador.reserved.is_empty());
    }
}
