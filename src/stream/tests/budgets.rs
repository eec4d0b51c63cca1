//! The budgets of an hour and of a month, as the example of Jupiter has them, on a clock that can run for months.

use crate::host::{Buffer, HeaderMap};
use crate::stream::tests::harness::{Envoy, request};
use serde_json::{Value, json};

const SECOND: u64 = 1_000_000_000;

const MINUTE: u64 = 60 * SECOND;

const HOUR: u64 = 60 * MINUTE;

const DAY: u64 = 24 * HOUR;

/// When windows of an hour, of a day and of 30 days all begin.
const BEGINNING: u64 = 600 * 30 * DAY;

/// The budget headers of a response.
#[derive(Debug, PartialEq, Eq)]
struct BudgetHeaders {
    limit: String,
    used: String,
    /// The `retry-after` of a rejection.
    retry_after: Option<u64>,
}

/// Returns the example, with authentication by a header.
fn jupiter() -> Envoy {
    let example = include_str!("../../../examples/jupiter/tollgate.yaml");
    let mut configuration: Value = serde_norway::from_str(example).unwrap();
    configuration["auth"] = json!([{ "header": { "key": "x-key" } }]);
    // So that every rejection says when it ends.
    configuration["replies"]["maxRetryAfter"] = json!("366d");
    let limits = &mut configuration["policies"][0]["spec"]["limits"];
    // A queued request would have to be rejected by a tick.
    limits["production-key"]["onExceeded"] = json!("deny");
    let envoy = Envoy::with(&configuration.to_string());
    envoy.host.clock.set(BEGINNING);
    envoy
}

impl Envoy {
    fn is_at(&self, time: u64) -> &Self {
        self.host.clock.set(BEGINNING + time);
        self
    }

    /// Returns a whole exchange of `gpt-4` with so many tokens at 60 dollars a million; the headers of its response.
    fn exchange_of(&self, key: &str, tokens: u64) -> BudgetHeaders {
        let mut stream = self.stream();
        let headers: Vec<(&str, &str)> = request("alice")
            .into_iter()
            .chain([("x-key", key)])
            .collect();
        self.host.set_headers(HeaderMap::Request, &headers);
        let replies = self.host.replies.borrow().len();
        stream.on_request_headers(false);
        let body = r#"{"model":"gpt-4","max_tokens":1}"#;
        self.host.set_buffer(Buffer::RequestBody, body.as_bytes());
        if self.host.replies.borrow().len() == replies {
            stream.on_request_body(body.len(), true);
        }
        let rejected = self.host.replies.borrow().get(replies).cloned();
        if let Some(reply) = rejected {
            stream.on_log();
            assert_eq!(reply.status, 429, "{}", reply.body);
            let text = |name: &str| reply.header(name).expect(name).to_owned();
            return BudgetHeaders {
                limit: text("x-budget-limit"),
                used: text("x-budget-used"),
                retry_after: text("retry-after").parse().ok(),
            };
        }
        stream.on_response_headers(false);
        let headers = self.host.headers.borrow()[&HeaderMap::Response].clone();
        let text = |name: &str| {
            let found = headers.iter().find(|(key, _)| key == name);
            String::from_utf8_lossy(&found.expect(name).1).into_owned()
        };
        let headers = BudgetHeaders {
            limit: text("x-budget-limit"),
            used: text("x-budget-used"),
            retry_after: None,
        };
        let answer = json!({
            "object": "chat.completion", "model": "gpt-4",
            "choices": [{ "message": { "content": "" } }],
            "usage": { "total_tokens": tokens },
        });
        self.body(&mut stream, &answer.to_string(), true);
        stream.on_log();
        headers
    }
}

fn admitted(limit: &str, used: &str) -> BudgetHeaders {
    BudgetHeaders {
        limit: limit.to_owned(),
        used: used.to_owned(),
        retry_after: None,
    }
}

#[test]
fn hourly_budget_slides() {
    let jupiter = jupiter();
    let exchange =
        |time: u64, tokens: u64| jupiter.is_at(time).exchange_of("production-key", tokens);
    // 5.40 dollars each, in minutes of their own: there is a limit of tokens a minute beside it.
    assert_eq!(exchange(0, 90_000), admitted("10.00", "0.00"));
    assert_eq!(exchange(2 * MINUTE, 90_000), admitted("10.00", "5.40"));

    // The window slides: a new hour alone frees nothing.
    let rejected = exchange(59 * MINUTE, 0);
    assert_eq!(
        (rejected.limit.as_str(), rejected.used.as_str()),
        ("10.00", "10.80")
    );
    assert!(exchange(HOUR, 0).retry_after.is_some());
    // Less than 10 of 10.80 dollars are left when two twenty-sevenths of the next hour are over.
    let wait = rejected.retry_after.unwrap() * SECOND;
    assert_eq!(wait, MINUTE + (2 * HOUR).div_ceil(27 * SECOND) * SECOND);
    assert!(
        exchange(59 * MINUTE + wait - SECOND, 0)
            .retry_after
            .is_some()
    );
    assert_eq!(exchange(59 * MINUTE + wait, 0).retry_after, None);
    // Spending expires, and after two hours nothing of it is left; of the day it is.
    assert_eq!(exchange(HOUR + HOUR / 2, 0), admitted("10.00", "5.40"));
    assert_eq!(exchange(2 * HOUR, 0), admitted("10.00", "0.00"));
}

#[test]
fn thirty_day_budget_slides() {
    let jupiter = jupiter();
    let exchange = |time: u64, tokens: u64| jupiter.is_at(time).exchange_of("my-api-key", tokens);
    // 90 dollars a day, of 100; the month has 2500.
    for day in 0..28 {
        let headers = exchange(day * DAY + HOUR, 1_500_000);
        assert_eq!(headers.retry_after, None, "day {day}: {headers:?}");
    }
    // There is room in the day, and none in the month.
    let rejected = exchange(28 * DAY + DAY / 2, 0);
    assert_eq!(
        (rejected.limit.as_str(), rejected.used.as_str()),
        ("2500.00", "2520.00")
    );
    // It is not a calendar month: its use expires day by day.
    let rejected = exchange(30 * DAY + HOUR, 0);
    assert_eq!(rejected.limit, "2500.00");
    assert_eq!(rejected.used, "2516.50");
    let wait = rejected.retry_after.unwrap() * SECOND;
    assert!(
        exchange(30 * DAY + HOUR + wait - SECOND, 0)
            .retry_after
            .is_some()
    );
    assert_eq!(exchange(30 * DAY + HOUR + wait, 0).retry_after, None);
    let headers = exchange(45 * DAY, 0);
    assert_eq!(headers, admitted("100.00", "0.00"));
    // The whole budget is available again once it has expired.
    for day in 60..87 {
        let headers = exchange(day * DAY + HOUR, 1_500_000);
        assert_eq!(headers.retry_after, None, "day {day}: {headers:?}");
    }
}
