//! Log lines, their deduplication, and metrics.

use super::log_dedup::{LogDedup, LogKey};
use super::record_struct::tests::{Kind, Struct};
use super::{Decision, ExchangeRecord, FailedPart, Quoted, Telemetry};
use crate::host::HostError;
use crate::host::double::Call;
use crate::ledger::Stage;
use crate::testing::{Filter, START, output, per_user};
use filter_config::{LimitIndex, Usd};
use insta::assert_snapshot;
use limits::{Nanos, Occupancy, Standing};
use proptest::prelude::*;
use prost::Message;
use serde_json::json;
use std::collections::BTreeMap;

const FREE: LimitIndex = LimitIndex {
    policy: 0,
    limit: 0,
};

#[test]
fn log_values_are_quoted_unless_plain() {
    for (value, expected) in [
        ("alice", "alice"),
        ("", "\"\""),
        ("auth.user = alice", "\"auth.user = alice\""),
        ("say \"no\"\\", "\"say \\\"no\\\"\\\\\""),
        (
            "line\nlimit_rejected policy=x",
            "\"line limit_rejected policy=x\"",
        ),
    ] {
        assert_eq!(Quoted(value).to_string(), expected);
    }
}

proptest! {
    #[test]
    fn log_value_never_forges_a_line(value in any::<String>()) {
        let quoted = Quoted(&value).to_string();
        prop_assert!(!quoted.contains(char::is_control));
        let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match inner {
            // Every quote inside is escaped.
            Some(inner) => prop_assert!(!inner.replace("\\\\", "").replace("\\\"", "").contains('"')),
            None => prop_assert!(!quoted.contains([' ', '=', '"'])),
        }
    }
}

#[test]
fn repeated_line_is_suppressed_until_its_time() {
    let mut logged = LogDedup::default();
    let until = START.saturating_add(Nanos::MINUTE);
    assert!(logged.insert(LogKey::Evictions, START, until));
    assert!(!logged.insert(LogKey::Evictions, START, until));
    assert!(logged.insert(LogKey::Evictions, until, until));
}

#[test]
fn full_dedup_suppresses_new_lines() {
    let mut logged = LogDedup::default();
    let until = START.saturating_add(Nanos::MINUTE);
    let key = |number: usize| LogKey::Path(String::new(), number.to_string());
    let inserted = (0..2_000).filter(|number| logged.insert(key(*number), START, until));
    assert_eq!(inserted.count(), 1_024);
    assert!(
        logged.insert(key(5_000), until, until),
        "the others expired"
    );
}

/// Logs one line of each event.
fn log_everything(filter: &Filter) {
    let Filter {
        policies,
        telemetry,
        ..
    } = filter;
    let mut attributes = filter.attributes("alice", &[]);
    let charge = filter.applicable(&mut attributes).unwrap().charges[0];
    let id = (charge.rate, 0xfeed << 64);
    let standing = Standing {
        limit: 50,
        used: 60,
        reserved: 5,
        resets_at: START.saturating_add(Nanos::MINUTE),
    };
    telemetry.limit_rejected(policies, &mut attributes, id, &standing, START);
    telemetry.alert(policies, id, &standing, 60);
    telemetry.evaluation_failed("test/llm", "limits.free.cost", &"no value");
    telemetry.model_unpriced("test/llm", "free", "a \"new\" model");
    telemetry.usage_unreadable(Some("gpt-4o"));
    telemetry.admission_failed("request", &HostError::BadArgument);
    telemetry.occupancy(Occupancy {
        evictions: 3,
        ..Occupancy::default()
    });
    telemetry.include_usage_rejected("llm", "a \"new\" model");
    Telemetry::usage_not_recorded(120, &HostError::InternalFailure);
    Telemetry::host_call_failed("request headers", HostError::BadArgument);
}

fn alerting() -> Filter {
    let mut limit = per_user(50);
    limit["alertAt"] = json!(0.8);
    Filter::new(&json!({ "free": limit }), &json!({}))
}

#[test]
fn log_events_have_stable_names() {
    let filter = alerting();
    log_everything(&filter);
    assert_snapshot!(filter.lines().join("\n"));
}

#[test]
fn callers_can_cause_each_line_once() {
    let filter = alerting();
    log_everything(&filter);
    let first = filter.lines().len();
    log_everything(&filter);
    // Usage that is lost, host calls that fail, alerts and upstreams that reject requests for usage are
    // logged each time; the last are found out once an hour.
    assert_eq!(filter.lines().len(), first + 4);
}

#[test]
fn metrics_of_configuration_are_defined_once() {
    let storage = json!({ "storage": { "type": "limitador", "cluster": "limitador" } });
    let filter = Filter::new(&json!({ "free": per_user(50) }), &storage);
    filter
        .telemetry
        .tokens(Some("gpt-4.1"), &output(7), Some(Usd(1)));
    let metrics = filter.host.metrics.borrow();
    let mut names: Vec<&str> = metrics.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_snapshot!(names.join("\n"));
}

/// Reports an exchange with all values.
fn report_exchange(filter: &Filter) {
    let record = ExchangeRecord {
        decision: Decision::Admitted,
        limit: Some(FREE),
        failed: FailedPart::default(),
        usage: Some(output(7)),
        is_estimated: true,
        usd: Some(Usd(1_500_000_000)),
        model: Some("gpt-4.1"),
        requested_model: None,
        provider: Some("openai"),
        applied: &[],
        reason: None,
        queued: None,
    };
    filter.telemetry.exchange(&filter.policies, &record);
}

#[test]
fn exchange_record_is_written_to_filter_state() {
    let filter = alerting();
    report_exchange(&filter);
    let state = filter.host.filter_state.borrow();
    let state: Vec<String> = state
        .iter()
        .map(|(key, value)| format!("{key}: {value}"))
        .collect();
    assert_snapshot!(state.join("\n"));
    assert_eq!(filter.host.records.borrow().len(), 0);
}

#[test]
fn record_of_exchange_is_one_call() {
    for form in ["record", "both"] {
        let filter = Filter::new(
            &json!({ "free": per_user(50) }),
            &json!({ "accessLog": form }),
        );
        report_exchange(&filter);
        let records = filter.host.records.borrow();
        let record = Struct::decode(&*records["tollgate"]).unwrap();
        let mut state = filter.host.filter_state.borrow_mut();
        if form == "record" {
            assert_eq!(filter.host.count(Call::SetFilterState), 1);
            assert!(state.is_empty());
            drop(state);
            // The same values, as `keys` has them.
            let keys = alerting();
            report_exchange(&keys);
            state = filter.host.filter_state.borrow_mut();
            state.extend(keys.host.filter_state.take());
        }
        let texts = record.fields.into_iter().map(|(name, value)| {
            let text = match value.kind.unwrap() {
                Kind::Number(number) => number.to_string(),
                Kind::Text(text) => text,
                Kind::Boolean(value) => value.to_string(),
                Kind::List(_) | Kind::Struct(_) => panic!("not in this record"),
            };
            (format!("tollgate.{name}"), text)
        });
        assert_eq!(texts.collect::<BTreeMap<_, _>>(), *state);
    }
}

#[test]
fn undeclared_record_is_written_as_keys() {
    let filter = Filter::failing(Call::DeclareFilterState, &json!({ "accessLog": "record" }));
    report_exchange(&filter);
    assert_eq!(filter.host.records.borrow().len(), 0);
    assert_eq!(
        filter.host.filter_state.borrow()["tollgate.total_tokens"],
        "7"
    );
    assert!(filter.lines()[0].starts_with("error host_call_failed call=declare_property"));
}

#[test]
fn concurrency_alert_is_raised_once_a_minute() {
    let limit = json!({
        "concurrency": 2,
        "onExceeded": "allow",
        "counters": [{ "expression": "auth.user" }]
    });
    let filter = Filter::new(&json!({ "free": limit }), &json!({}));
    let alerts = || {
        let metric = "tollgate.alerts.policy=test/llm.limit=free";
        filter.host.metric(metric)
    };
    filter.admit("alice", 1);
    filter.admit("alice", 1);
    assert_eq!((alerts(), filter.lines().len()), (0, 0), "two are allowed");
    filter.admit("alice", 1);
    filter.admit("alice", 1);
    assert_eq!(alerts(), 1);
    let lines = filter.lines();
    let [line] = &lines[..] else {
        panic!("one line: {lines:?}");
    };
    assert!(
        line.starts_with("info concurrency_alert policy=test/llm limit=free counter=")
            && line.ends_with(" limit_value=2 unit=\"concurrent requests\""),
        "{line}"
    );
    filter.wait(Nanos::MINUTE);
    filter.admit("alice", 1);
    assert_eq!((alerts(), filter.lines().len()), (2, 2));
}

#[test]
fn budget_alert_names_dollars() {
    let limit = json!({
        "budgets": [{ "usd": "4", "window": "1h" }],
        "counters": [{ "expression": "auth.user" }],
        "alertAt": 0.5
    });
    let pricing = json!({ "pricing": { "default": { "input": 1, "output": 2 } } });
    let filter = Filter::new(&json!({ "money": limit }), &pricing);
    let settle = |usd: u64| {
        let mut admission = filter.admit("alice", 1);
        let settled = filter
            .ledger
            .settle(&mut admission, Stage::End, |_| usd * 1_000_000_000);
        settled.unwrap();
        for charge in &admission.charges {
            let standing = &charge.counter.standing;
            let cost = charge.counter.cost;
            filter
                .telemetry
                .alert(&filter.policies, charge.id(), standing, cost);
        }
    };
    settle(1);
    assert_eq!(filter.lines().len(), 0);
    settle(2);
    settle(1);
    let lines = filter.lines();
    let [line] = &lines[..] else {
        panic!("one line: {lines:?}");
    };
    assert!(
        line.starts_with("info limit_alert policy=test/llm limit=money counter=")
            && line.ends_with(" used=3.00 limit_value=4.00 unit=USD"),
        "{line}"
    );
    let metric = "tollgate.alerts.policy=test/llm.limit=money";
    assert_eq!(filter.host.metric(metric), 1);
}
