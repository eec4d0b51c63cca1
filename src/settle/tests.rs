//! Settlement, apart from a whole stream.

mod prefixes;
mod reports;
mod unread;

use super::{
    CostContext, DeferredCost, MeteredUsage, RequestSize, estimate, export, metered,
    reserved_tokens, settle, settle_deferred,
};
use crate::ledger::{Admission, DeferredCharge, Stage};
use crate::testing::{Filter, output, per_user};
use filter_config::{OnMissing, Usd};
use serde_json::{Value, json};
use std::time::Duration;
use usage_meter::{Estimator, Meter, RequestPath, ResponseHead, Usage};

fn reported(tokens: u64) -> MeteredUsage {
    MeteredUsage {
        usage: output(tokens),
        is_estimated: false,
    }
}

/// Settles an exchange that has ended.
fn settle_end(filter: &Filter, admission: &mut Admission, context: &mut CostContext<'_>) {
    let Filter {
        policies,
        ledger,
        telemetry,
        ..
    } = filter;
    settle(policies, ledger, telemetry, admission, Stage::End, context).unwrap();
}

/// Settles an exchange of alice under a limit; returns what the counter had used after it.
fn used_after(limit: &Value, metered: Option<MeteredUsage>) -> u64 {
    let filter = Filter::new(&json!({ "free": limit }), &json!({}));
    let mut attributes = filter.attributes("alice", &[]);
    let mut admission = filter.admit("alice", 10);
    let mut context = CostContext::new(metered, Usd(7), Some(&mut attributes), b"");
    settle_end(&filter, &mut admission, &mut context);
    let counter = &admission.charges[0].counter;
    assert_eq!(counter.standing.reserved, 0, "nothing stays reserved");
    counter.standing.used
}

#[test]
fn tokens_are_recorded_and_reservations_released() {
    assert_eq!(used_after(&per_user(50), Some(reported(20))), 20);
    assert_eq!(used_after(&per_user(50), None), 0);
}

#[test]
fn cost_expression_replaces_tokens() {
    let mut limit = per_user(50);
    limit["cost"] = json!("usage.output_tokens * 2 + 1");
    assert_eq!(used_after(&limit, Some(reported(20))), 41);
    assert_eq!(used_after(&limit, None), 0, "it reads usage");
}

#[test]
fn failed_cost_expression_charges_tokens() {
    let mut limit = per_user(50);
    limit["cost"] = json!("usage.raw.detail.tier");
    assert_eq!(used_after(&limit, Some(reported(20))), 20);
}

#[test]
fn release_records_nothing() {
    let filter = Filter::new(&json!({ "free": per_user(50) }), &json!({}));
    let mut admission = filter.admit("alice", 50);
    filter.ledger.release(&mut admission).unwrap();
    let standing = filter.admit("alice", 50).charges[0].counter.standing;
    assert_eq!((standing.used, standing.reserved), (0, 0));
}

#[test]
fn alert_is_raised_once_past_threshold() {
    let mut limit = per_user(50);
    limit["alertAt"] = json!(0.8);
    let filter = Filter::new(&json!({ "free": limit }), &json!({}));
    for _ in 0..3 {
        let mut admission = filter.admit("alice", 1);
        let mut context = CostContext::new(Some(reported(15)), Usd(0), None, b"");
        settle_end(&filter, &mut admission, &mut context);
    }
    assert_eq!(
        filter
            .host
            .metric("tollgate.alerts.policy=test/llm.limit=free"),
        1
    );
    let lines = filter.lines();
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].ends_with(" used=45 limit_value=50 unit=tokens"),
        "{lines:?}"
    );
}

#[test]
fn exported_cost_is_written_to_filter_state() {
    let exports = json!({ "export": { "double": "usage.total_tokens * 2" } });
    let filter = Filter::new(&json!({ "free": per_user(50) }), &exports);
    let mut attributes = filter.attributes("alice", &[]);
    let mut context = CostContext::new(Some(reported(20)), Usd(0), Some(&mut attributes), b"");
    export(&filter.policies, &filter.telemetry, &mut context);
    let state = filter.host.filter_state.borrow();
    assert_eq!(state["tollgate.cost.double"], "40");
}

fn meter(body: &[u8]) -> Meter {
    let mut meter = Meter::new(&ResponseHead {
        status: 200,
        content_type: Some(b"text/event-stream"),
        path: RequestPath::of(b"/v1/messages"),
        ..ResponseHead::default()
    });
    meter.push(body);
    meter.finish();
    meter
}

const STARTED: &[u8] = br#"event: message_start
data: {"type":"message_start","message":{"id":"g","type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":60,"output_tokens":1}}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Kubernetes is a platform for running containers."}}

"#;

#[test]
fn partial_report_is_the_least_that_is_charged() {
    let estimator = Estimator::default();
    let size = RequestSize {
        model: Some("m"),
        input_bytes: 9,
        is_complete: false,
        ..RequestSize::default()
    };
    let metered = metered(&estimator, OnMissing::Estimate, &meter(STARTED), &size).unwrap();
    assert!(metered.is_estimated);
    assert_eq!(metered.usage.input_tokens, 60, "reported");
    assert!(metered.usage.output_tokens > 1, "estimated from the text");
    let total = metered.usage.input_tokens + metered.usage.output_tokens;
    assert_eq!(metered.usage.total_tokens, total);
}

#[test]
fn partial_report_is_completed_by_its_estimate() {
    let estimator = Estimator::default();
    let size = RequestSize {
        input_bytes: 45,
        is_complete: true,
        ..RequestSize::default()
    };
    let text = "x".repeat(430);
    for (report, expected) in [
        // Input, output, total: estimates are 10 and 100.
        (
            json!({ "prompt_tokens": 0, "completion_tokens": 0 }),
            (10, 100, 110),
        ),
        (json!({ "prompt_tokens": 7 }), (7, 100, 107)),
        (json!({ "completion_tokens": 3 }), (10, 100, 110)),
        (json!({ "completion_tokens": 300 }), (10, 300, 310)),
        (json!({ "total_tokens": 50 }), (10, 40, 50)),
        (json!({ "total_tokens": 4 }), (4, 0, 4)),
        (
            json!({ "prompt_tokens": 7, "completion_tokens": -1 }),
            (10, 100, 110),
        ),
    ] {
        let body = json!({ "choices": [{ "message": { "content": text } }], "usage": report });
        let mut meter = Meter::new(&ResponseHead {
            status: 200,
            content_type: Some(b"application/json"),
            path: RequestPath::of(b"/v1/chat/completions"),
            ..ResponseHead::default()
        });
        meter.push(body.to_string().as_bytes());
        meter.finish();
        let metered = metered(&estimator, OnMissing::Estimate, &meter, &size).unwrap();
        let usage = metered.usage;
        assert!(metered.is_estimated, "{report}");
        assert_eq!(
            (usage.input_tokens, usage.output_tokens, usage.total_tokens),
            expected,
            "{report}"
        );
    }
}

#[test]
fn unreported_completion_costs_nothing_when_ignored() {
    let estimator = Estimator::default();
    let size = RequestSize {
        model: None,
        input_bytes: 900,
        is_complete: true,
        ..RequestSize::default()
    };
    let silent = meter(b"data: {\"type\":\"ping\"}\n\n");
    assert_eq!(metered(&estimator, OnMissing::Ignore, &silent, &size), None);
}

#[test]
fn cut_off_response_costs_what_was_generated_meanwhile() {
    let estimator = Estimator::default();
    let size = RequestSize {
        elapsed: Duration::from_secs(10),
        expected: output(700),
        ..RequestSize::default()
    };
    let charged = |size: &RequestSize<'_>| {
        let metered = metered(&estimator, OnMissing::Estimate, &meter(STARTED), size);
        metered.unwrap().usage.output_tokens
    };
    assert_eq!(charged(&size), 700, "1,000 by the rate, 700 by the bound");
    let generous = RequestSize {
        expected: output(5_000),
        ..size
    };
    assert_eq!(charged(&generous), 1_000);
    let complete = RequestSize {
        is_complete: true,
        ..size
    };
    assert_eq!(
        charged(&complete),
        12,
        "by the text, not by the placeholder"
    );
    let text = estimate(&estimator, &complete, 43);
    assert_eq!(text.usage.output_tokens, 10, "nothing is hidden");
}

#[test]
fn undecodable_response_costs_what_was_expected() {
    let estimator = Estimator::default();
    let mut meter = Meter::new(&ResponseHead {
        status: 200,
        content_type: Some(b"application/json"),
        content_encoding: Some(b"br"),
        path: RequestPath::of(b"/v1/chat/completions"),
        ..ResponseHead::default()
    });
    meter.push(&[0xff; 100]);
    meter.finish();
    let expected = Usage {
        input_tokens: 30,
        output_tokens: 400,
        total_tokens: 430,
        ..Usage::default()
    };
    let size = RequestSize {
        expected,
        is_complete: true,
        ..RequestSize::default()
    };
    let charged = metered(&estimator, OnMissing::Estimate, &meter, &size).unwrap();
    assert!(charged.is_estimated);
    assert_eq!(charged.usage, expected);
}

#[test]
fn estimate_counts_input_and_output_bytes() {
    let size = RequestSize {
        model: None,
        input_bytes: 9_000,
        input_parts: 1,
        is_complete: false,
        ..RequestSize::default()
    };
    let estimated = estimate(&Estimator::default(), &size, 4_300);
    assert!(estimated.is_estimated);
    let Usage {
        input_tokens,
        output_tokens,
        total_tokens,
        ..
    } = estimated.usage;
    assert_eq!(
        (input_tokens, output_tokens, total_tokens),
        (3_000, 1_000, 4_000)
    );
}

#[test]
fn estimate_is_raised_in_its_output() {
    let metered = reported(20);
    let raised = metered.at_least(50);
    assert_eq!((raised.usage, raised.is_estimated), (output(50), true));
    let usage = Usage::new(30, 20);
    let raised = MeteredUsage { usage, ..metered }.at_least(70);
    assert_eq!(raised.usage, Usage::new(30, 40));
    let raised = metered.at_least(10);
    assert_eq!((raised.usage, raised.is_estimated), (output(20), true));
}

#[test]
fn reserved_tokens_are_those_of_limits_on_tokens() {
    let mut costly = per_user(500);
    costly["cost"] = json!("usage.total_tokens * 3");
    costly["reservation"] = json!({ "amount": "90" });
    let mut less = per_user(500);
    less["reservation"] = json!({ "max": 20 });
    let mut requests = json!({ "requests": [{ "limit": 9, "window": "1m" }] });
    requests["budgets"] = json!([{ "usd": "1.00", "window": "1h" }]);
    let limits = json!({
        "all": per_user(500), "costly": costly, "less": less, "requests": requests
    });
    let pricing = json!({ "pricing": { "default": { "input": 1, "output": 2 } } });
    let filter = Filter::new(&limits, &pricing);
    let admission = filter.admit("alice", 40);
    assert_eq!(reserved_tokens(&filter.policies, &admission), 40);
    let only = Filter::new(&json!({ "costly": costly }), &json!({}));
    let admission = only.admit("alice", 40);
    assert_eq!(reserved_tokens(&only.policies, &admission), 0);
}

/// Settles a deferred charge with its estimate. Returns what its counter has used, and the number of estimates.
fn used_by_estimate(estimate: Usage, cost: u64) -> (u64, i64) {
    let filter = Filter::new(&json!({ "free": per_user(500) }), &json!({}));
    let mut admission = filter.admit("alice", 10);
    admission.charges[0].counter.cost = cost;
    let deferred = DeferredCharge {
        admission,
        estimate,
        model: None,
    };
    let Filter {
        policies,
        ledger,
        telemetry,
        ..
    } = &filter;
    settle_deferred(
        policies,
        ledger,
        telemetry,
        deferred,
        DeferredCost::Estimate,
    );
    let standing = filter.admit("alice", 1).charges[0].counter.standing;
    let estimates = filter.host.metric("tollgate.estimated");
    (standing.used, estimates)
}

#[test]
fn deferred_charge_costs_what_was_estimated() {
    // The cost may be more than the tokens: what was reserved of a response that was not read.
    assert_eq!(used_by_estimate(output(30), 100), (100, 1));
    assert_eq!(used_by_estimate(output(30), 30), (30, 1));
    assert_eq!(
        used_by_estimate(output(0), 0),
        (0, 0),
        "nothing was estimated"
    );
}
