//! Leases: requests to a busy counter that are admitted without a call.

use crate::host::HeaderMap;
use crate::stream::Stream;
use crate::stream::tests::background::response;
use crate::stream::tests::corrections::{TEXT, usage};
use crate::stream::tests::harness::{Envoy, completion, configuration};
use crate::stream::tests::service::harness::{Gateway, RESERVE};
use limits::service::mock::Limitador;

/// Forty tokens for each request.
const FORTY: &str = r#", "reservation": { "amount": "40" }"#;

/// A slice of 1,000 tokens or 20 requests.
fn lease() -> String {
    RESERVE.replace('}', r#", "lease": { "amount": 1000, "requests": 20 } }"#)
}

impl Gateway {
    /// Returns a gateway with a limit of `limit` tokens, and leases.
    fn leased(limit: u64, spec: &str) -> Self {
        let rest = format!(r#", "storage": {}"#, lease());
        let configuration = configuration(spec, &rest);
        let configuration = configuration.replace(
            r#""limit": 50, "window": "1m""#,
            &format!(r#""limit": {limit}, "window": "1h""#),
        );
        Self {
            envoy: Envoy::with(&configuration),
            limitador: Limitador::new(limit),
            answered: 0,
        }
    }

    /// The counter is busy, and gets its slice: the first request shows that the service reserves. Returns the number of
    /// calls so far.
    fn take_lease(&mut self) -> usize {
        for _ in 0..3 {
            assert_eq!(self.exchange(40), "admitted");
        }
        self.methods().len()
    }

    fn metric(&self, name: &str) -> i64 {
        self.envoy.host.metric(name)
    }

    /// Returns what is reserved at the service.
    fn reserved(&self) -> u64 {
        let reserved = self.limitador.reserved.values();
        reserved.map(|(_, amount)| amount).sum()
    }

    /// Returns a request that is admitted without a call.
    fn open(&mut self) -> Stream {
        let calls = self.methods().len();
        let mut stream = self.envoy.stream();
        stream.on_request_headers(true);
        assert_eq!(self.methods().len(), calls);
        assert_eq!(stream.standings().len(), 1);
        stream
    }

    fn respond(&self, stream: &mut Stream, tokens: u64) {
        let headers = [(":status", "200"), ("content-type", "application/json")];
        self.envoy.host.set_headers(HeaderMap::Response, &headers);
        stream.on_response_headers(false);
        self.envoy.body(stream, &completion(tokens), true);
        stream.on_log();
    }
}

#[test]
fn requests_of_busy_counter_make_few_calls() {
    let mut gateway = Gateway::leased(1_000_000, FORTY);
    for _ in 0..100 {
        assert_eq!(gateway.exchange(30), "admitted");
    }
    // Three exchanges of two calls, and four slices.
    let calls = gateway.methods().len();
    assert!((8..=14).contains(&calls), "{calls}");
    assert_eq!(gateway.metric("tollgate.storage_lease_admissions"), 97);
    // A slice, and what the request held that was in flight when it was reserved.
    assert_eq!(gateway.metric("tollgate.storage_tokens_leased"), 1_040);
    assert_eq!(
        gateway.envoy.state("tollgate.total_tokens").as_deref(),
        Some("30")
    );
    gateway.wait(21_000);
    assert_eq!(gateway.limitador.total(), 3_000);
    assert!(gateway.limitador.reserved.is_empty());
    assert_eq!(gateway.metric("tollgate.storage_tokens_leased"), 0);
}

#[test]
fn idle_lease_is_released_after_ttl() {
    let mut gateway = Gateway::leased(1_000_000, FORTY);
    let calls = gateway.take_lease();
    assert_eq!(gateway.reserved(), 1_000);
    gateway.exchange(10);
    assert_eq!(gateway.methods().len(), calls);
    gateway.wait(9_900);
    assert_eq!(
        (gateway.reserved(), gateway.limitador.total()),
        (1_000, 120)
    );
    gateway.wait(200);
    assert_eq!((gateway.reserved(), gateway.limitador.total()), (0, 130));
    assert_eq!(gateway.methods().len(), calls + 1);
}

#[test]
fn lone_requests_take_no_lease() {
    let mut gateway = Gateway::leased(1_000_000, FORTY);
    for _ in 0..5 {
        gateway.exchange(40);
        gateway.wait(1_100);
    }
    assert_eq!(gateway.methods(), ["Reserve", "Commit"].repeat(5));
}

#[test]
fn requests_and_tokens_are_leased() {
    let requests = r#", "requests": [{ "limit": 100000, "window": "1h" }]"#;
    let mut gateway = Gateway::leased(1_000_000, &format!("{FORTY}{requests}"));
    let calls = gateway.take_lease();
    for _ in 0..14 {
        gateway.exchange(40);
    }
    assert_eq!(gateway.methods().len(), calls);
    gateway.wait(21_000);
    let used: Vec<u64> = gateway.limitador.used.values().copied().collect();
    assert_eq!(
        (used.iter().min(), used.iter().max()),
        (Some(&17), Some(&680))
    );
    assert!(gateway.limitador.reserved.is_empty());
}

#[test]
fn each_limit_has_its_own_lease() {
    let other = r#"} , "all": { "rates": [{ "limit": 900000, "window": "1h" }], "reservation": { "amount": "40" }"#;
    let mut gateway = Gateway::leased(1_000_000, &format!("{FORTY}{other}"));
    let calls = gateway.take_lease();
    assert_eq!(gateway.reserved(), 2_000);
    for _ in 0..10 {
        gateway.exchange(40);
    }
    assert_eq!(gateway.methods().len(), calls);
    gateway.wait(21_000);
    let total = gateway.limitador.total();
    // The exchanges before the leases were counted by both limits at once.
    assert_eq!(total, 120 + 2 * 400);
}

#[test]
fn budget_takes_no_lease() {
    let budget = r#", "budgets": [{ "usd": 100, "window": "1h" }]"#;
    let configuration = configuration(
        &format!("{FORTY}{budget}"),
        &format!(
            r#", "storage": {}, "pricing": {{ "m": {{ "input": 1, "output": 2 }} }}"#,
            lease()
        ),
    );
    let configuration = configuration.replace(r#""limit": 50"#, r#""limit": 1000000"#);
    let mut gateway = Gateway {
        envoy: Envoy::with(&configuration),
        limitador: Limitador::new(u64::MAX / 2),
        answered: 0,
    };
    let calls = gateway.take_lease();
    gateway.exchange(40);
    assert_eq!(gateway.methods().len(), calls + 2, "its own calls");
    assert_eq!(gateway.metric("tollgate.storage_lease_admissions"), 0);
}

#[test]
fn rest_of_limit_in_lease_is_usable() {
    let mut gateway = Gateway::leased(2_000, FORTY);
    gateway.take_lease();
    let leased = gateway.reserved();
    assert_eq!(leased, 188, "a tenth of what was left");
    // Others use everything else.
    let used = gateway.limitador.used.values_mut().next().unwrap();
    *used = 2_000 - leased;
    let calls = gateway.methods().len();
    for _ in 0..4 {
        assert_eq!(gateway.exchange(40), "admitted");
    }
    assert!(gateway.methods()[calls..].iter().all(|it| it == "Reserve"));
    // A request without others beside it is admitted while anything is left, in the lease as well.
    assert_eq!(gateway.exchange(40), "admitted");
    assert_eq!(gateway.exchange(40), "denied");
    gateway.wait(21_000);
    assert_eq!(
        gateway.limitador.total(),
        2_012,
        "what one request exceeds it by"
    );
    assert!(gateway.limitador.reserved.is_empty());
}

#[test]
fn slice_that_takes_the_rest_rejects_none() {
    let mut gateway = Gateway::leased(2_000, FORTY);
    for _ in 0..2 {
        gateway.exchange(40);
    }
    // Others use so much that the slice takes what is left, before the request that it is for has reserved.
    let used = gateway.limitador.used.values_mut().next().unwrap();
    *used = 2_000 - 190;
    let calls = gateway.methods().len();
    for _ in 0..4 {
        assert_eq!(gateway.exchange(40), "admitted");
    }
    assert_eq!(gateway.methods()[calls..][..2], ["Reserve", "Reserve"]);
    gateway.wait(21_000);
    assert_eq!(gateway.limitador.total(), 2_000 - 190 + 160);
    assert!(gateway.limitador.reserved.is_empty());
}

#[test]
fn corrected_charges_stay_in_lease() {
    let mut gateway = Gateway::leased(1_000_000, FORTY);
    let calls = gateway.take_lease();
    for reports in [&[10_u64, 30][..], &[30, 10], &[5, 25, 20]] {
        let mut stream = gateway.open();
        let headers = [(":status", "200"), ("content-type", "text/event-stream")];
        gateway
            .envoy
            .host
            .set_headers(HeaderMap::Response, &headers);
        stream.on_response_headers(false);
        gateway.envoy.body(&mut stream, TEXT, false);
        for tokens in reports {
            gateway.envoy.body(&mut stream, &usage(*tokens), false);
        }
        gateway.envoy.body(&mut stream, "", true);
        stream.on_log();
    }
    gateway.answer(&mut None);
    assert_eq!(gateway.methods().len(), calls);
    gateway.wait(21_000);
    assert_eq!(gateway.limitador.total(), 120 + 30 + 10 + 20);
}

#[test]
fn cost_beyond_lease_is_reported_at_once() {
    let mut gateway = Gateway::leased(1_000_000, FORTY);
    let calls = gateway.take_lease();
    gateway.exchange(5_000);
    assert_eq!(gateway.methods()[calls..], ["Report"]);
    assert_eq!(gateway.limitador.total(), 120 + 4_000);
    gateway.wait(21_000);
    assert_eq!(gateway.limitador.total(), 120 + 5_000);
}

#[test]
fn outage_loses_no_usage_of_leases() {
    let mut gateway = Gateway::leased(1_000_000, FORTY);
    gateway.take_lease();
    let down = |gateway: &mut Gateway, exchanges: usize| {
        for _ in 0..exchanges {
            gateway.exchange_by(40, &mut |_| Some(Err(14)));
        }
    };
    // Calls fail once most of the slice is used, and the circuit opens.
    down(&mut gateway, 60);
    assert_eq!(gateway.metric("tollgate.storage_circuit_open"), 1);
    gateway.wait(30_000);
    assert_eq!(gateway.limitador.total(), 63 * 40);
    assert!(gateway.limitador.reserved.is_empty());
    assert_eq!(gateway.metric("tollgate.storage_tokens_lost"), 0);
}

#[test]
fn service_without_reserve_grants_no_lease() {
    let mut gateway = Gateway::leased(1_000_000, FORTY);
    gateway.limitador.lacks_reserve = true;
    for _ in 0..5 {
        gateway.exchange(40);
    }
    let reserves = gateway.methods();
    let reserves = reserves.iter().filter(|it| *it == "Reserve");
    assert_eq!(reserves.count(), 1);
    assert_eq!(gateway.limitador.total(), 200);
}

#[test]
fn replaced_configuration_ends_leases() {
    let mut gateway = Gateway::leased(1_000_000, FORTY);
    gateway.take_lease();
    let mut stream = gateway.open();
    gateway.exchange(25);
    let replaced = gateway.reconfigure(&lease());
    replaced.hand_over(&gateway.envoy.plugin);
    assert!(!replaced.is_drained(), "a request in flight holds a part");
    let calls = gateway.methods().len();
    gateway.respond(&mut stream, 35);
    assert_eq!(gateway.methods().len(), calls);
    replaced.hand_over(&gateway.envoy.plugin);
    gateway.answered = calls;
    assert_eq!(gateway.methods()[calls..], ["Commit"]);
    let commit = gateway.call(calls);
    gateway.answered = gateway.methods().len();
    let reply = gateway.limitador.call(&commit.method, &commit.message);
    let token = limits::service::CallId(u32::try_from(calls + 1).unwrap());
    assert!(
        replaced
            .on_reply(token, reply.as_deref().map_err(|it| *it))
            .is_none()
    );
    assert!(replaced.is_drained());
    assert_eq!(gateway.limitador.total(), 120 + 25 + 35);
    assert!(gateway.limitador.reserved.is_empty());
}

#[test]
fn leases_pass_to_successor_at_deadline() {
    let mut gateway = Gateway::leased(1_000_000, FORTY);
    gateway.take_lease();
    let mut stream = gateway.open();
    gateway.exchange(25);
    let replaced = gateway.reconfigure(&lease());
    replaced.hand_over(&gateway.envoy.plugin);
    replaced.end(Some(&gateway.envoy.plugin));
    assert!(replaced.is_drained());
    gateway.wait(10_000);
    assert_eq!(gateway.limitador.total(), 120 + 25);
    assert!(gateway.limitador.reserved.is_empty());
    // What ends later is reported by itself.
    gateway.respond(&mut stream, 35);
    assert_eq!(gateway.methods().last().map(String::as_str), Some("Report"));
}

#[test]
fn background_response_leaves_lease() {
    let mut gateway = Gateway::leased(1_000_000, FORTY);
    gateway.take_lease();
    let stream = gateway.envoy.request("alice", "POST", "/v1/responses");
    let mut stream = Some(stream);
    gateway.answer(&mut stream);
    let body = response("resp_1", "queued", None);
    let envoy = &gateway.envoy;
    envoy.respond(stream.unwrap(), "application/json", &body, true);
    gateway.answer(&mut None);
    // It is over for the lease, which ends with its ttl.
    gateway.wait(21_000);
    assert!(gateway.limitador.reserved.is_empty());
    let stream = gateway.envoy.request("bob", "GET", "/v1/responses/resp_1");
    let mut stream = Some(stream);
    gateway.answer(&mut stream);
    let body = response("resp_1", "completed", Some(70));
    let envoy = &gateway.envoy;
    envoy.respond(stream.unwrap(), "application/json", &body, true);
    gateway.answer(&mut None);
    gateway.wait(21_000);
    assert_eq!(gateway.limitador.total(), 120 + 70);
}
