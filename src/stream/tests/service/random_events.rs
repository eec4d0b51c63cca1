//! Many exchanges at once, with all that can happen to them in any order: whatever it is, each is resumed or answered
//! once, nothing waits for ever, usage is counted once, and nothing stays reserved.

mod events;

use crate::host::double::{Call, Pairs};
use crate::host::{Buffer, Direction, HeaderMap, HostError};
use crate::stream::tests::harness::{Envoy, configuration, request};
use crate::stream::tests::service::harness::{CHECK, RESERVE, RLS};
use crate::stream::{Next, Stream};
use limits::service::mock::{Limitador, entries};
use serde_json::{Value, json};

const LOCAL: &str = r#"{ "type": "local" }"#;

const LEASED: &str =
    r#"{ "type": "limitador", "cluster": "limitador", "lease": { "amount": 3000, "ttl": "5s" } }"#;

const MS: u64 = 1_000_000;

/// Choices that follow from a seed.
struct Random(fastrand::Rng);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0.usize(..most)
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn one_of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len())]
    }
}

/// An exchange, and what Envoy would know of it.
#[expect(clippy::struct_excessive_bools, reason = "as Envoy has them")]
struct Exchange {
    stream: Stream,
    body: Vec<u8>,
    /// How much of the body has come.
    passed: usize,
    /// How much of it the next callback sees again.
    held_back: usize,
    ended: bool,
    buffer: Vec<u8>,
    /// What Envoy sends or keeps to send.
    sent: Vec<u8>,
    headers: Pairs,
    /// Whether the headers wait.
    at_headers: bool,
    paused: bool,
    replied: bool,
    response: Progress,
    /// What has happened.
    trail: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Nothing,
    Headers,
    /// A stream of events, which has reported so many tokens and may report more.
    Events(u64),
    Whole,
}

struct RandomEvents {
    envoy: Envoy,
    limitador: Limitador,
    answered: Vec<bool>,
    exchanges: Vec<Exchange>,
    random: Random,
    /// Whether headers wait for bodies.
    holds: bool,
    /// One in so many answers is a failure; none, where it is 0.
    errors: usize,
    /// The tokens that were charged, and the number of admitted exchanges.
    tokens: u64,
    admitted: u64,
    is_exact: bool,
    what: String,
}

impl RandomEvents {
    fn new(seed: u64, storage: &str, errors: usize, holds: bool) -> Self {
        let mut random = Random(fastrand::Rng::with_seed(seed));
        let mode = random.one_of(&["local", "allow", "deny"]);
        let storage_json = if storage == LOCAL {
            LOCAL.to_owned()
        } else {
            let open = storage.strip_suffix('}').unwrap();
            format!(r#"{open}, "failureMode": "{mode}" }}"#)
        };
        let pricing = r#""pricing": { "default": { "input": 1, "output": 2 } }"#;
        let rest = format!(r#", "holdHeaders": {holds}, "storage": {storage_json}, {pricing}"#);
        let mut json: Value = serde_json::from_str(&configuration("", &rest)).unwrap();
        let queue = json!({ "queue": { "depth": 1 + random.below(3), "timeout": "300ms" } });
        let alternatives = json!({ "alternatives": [
            { "model": "middle", "headers": { "x-to": "b" } }, { "headers": { "x-to": "c" } },
        ] });
        let actions = [
            json!("deny"),
            queue.clone(),
            queue,
            json!("allow"),
            if holds { alternatives } else { json!("deny") },
        ];
        let mut action = || actions[random.below(actions.len())].clone();
        let (one, two, three) = (action(), action(), action());
        let mut limits = json!({
            "free": {
                "rates": [{ "limit": 50, "window": "1m" }, { "limit": 500, "window": "1h" }],
                "requests": [{ "limit": 6, "window": "10s" }],
                "counters": [{ "expression": "auth.user" }],
                "onExceeded": one,
            },
            "large": {
                "when": [{ "predicate": "request.headers['x-to'] != 'c' && llm.model == 'large'" }],
                "rates": [{ "limit": 80, "window": "1m" }],
                "cost": "usage.total_tokens * 2",
                "onExceeded": two,
            },
            "all": {
                "rates": [{ "limit": 300, "window": "1m" }],
                "concurrency": 4,
                "onExceeded": three,
            },
            "shade": {
                "rates": [{ "limit": 30, "window": "1m" }],
                "counters": [{ "expression": "auth.user" }],
                "shadow": true,
            },
        });
        // A slice is a tenth of what is left.
        let factor = if storage == LEASED { 100 } else { 1 };
        if storage == LEASED {
            limits["free"]["rates"] = json!([{ "limit": 50_000, "window": "1m" }]);
            limits["free"]["requests"] = json!([{ "limit": 600, "window": "10s" }]);
            limits["all"]["rates"] = json!([{ "limit": 20_000, "window": "1m" }]);
            limits["large"] = json!({ "concurrency": 10 });
            limits["shade"] = json!({ "concurrency": 10, "shadow": true });
        }
        if storage != RLS && storage != LEASED {
            limits["all"]["budgets"] = json!([{ "usd": 0.001, "window": "1m" }]);
        }
        json["policies"][0]["spec"]["limits"] = limits;
        let mut limitador = Limitador::new(1_000_000);
        limitador.limits = vec![
            ("tokenlimit.free", 60 * factor),
            ("tokenlimit.large", 80 * factor),
            ("limit.", 6 * factor),
            ("tokenlimit.all", 300 * factor),
            ("tokenlimit.shade", 20 * factor),
            ("budget.", 1_000_000),
        ];
        Self {
            envoy: Envoy::with(&json.to_string()),
            limitador,
            answered: Vec::new(),
            exchanges: Vec::new(),
            random,
            holds,
            errors,
            tokens: 0,
            admitted: 0,
            is_exact: matches!(storage, RESERVE | CHECK | LEASED),
            what: format!("seed {seed} {storage} {mode} errors {errors} holds {holds} {actions:?}"),
        }
    }

    fn marks(&self) -> (usize, usize) {
        let host = &self.envoy.host;
        (host.resumed.borrow().len(), host.replies.borrow().len())
    }

    /// Does something to an exchange, and checks what it did to the stream.
    fn act<T>(
        &mut self,
        index: usize,
        what: &str,
        from_outside: bool,
        act: impl FnOnce(&Self, &mut Stream) -> T,
    ) -> T {
        let mut exchange = self.exchanges.swap_remove(index);
        let host = &self.envoy.host;
        host.set_buffer(Buffer::RequestBody, &exchange.buffer);
        host.headers
            .borrow_mut()
            .insert(HeaderMap::Request, exchange.headers.clone());
        let before = self.marks();
        let done = act(self, &mut exchange.stream);
        let after = self.marks();
        exchange.buffer = host.buffers.borrow()[&Buffer::RequestBody].clone();
        if exchange.held_back > 0 {
            // A fallback replaces what Envoy has kept.
            exchange.held_back = exchange.buffer.len();
        }
        exchange.headers = host.headers.borrow()[&HeaderMap::Request].clone();
        let (resumed, replied) = (after.0 - before.0, after.1 - before.1);
        exchange
            .trail
            .push(format!("{what} resumed {resumed} replied {replied}"));
        let headers = format!("{} {:?}", self.what, exchange.trail);
        assert!(resumed + replied <= 1, "{headers}");
        if resumed == 1 {
            assert!(
                from_outside && exchange.paused && !exchange.replied,
                "{headers}"
            );
            assert_eq!(host.resumed.borrow().last(), Some(&Direction::Request));
            exchange.paused = false;
            exchange.at_headers = false;
        }
        if replied == 1 {
            assert!(!exchange.replied, "{headers}");
            exchange.replied = true;
        }
        self.exchanges.push(exchange);
        let last = self.exchanges.len() - 1;
        self.exchanges.swap(index, last);
        done
    }

    fn came(&mut self, index: usize, next: Next, at_headers: bool) {
        let exchange = &mut self.exchanges[index];
        exchange.trail.push(format!("{next:?}"));
        let headers = format!("{} {:?}", self.what, exchange.trail);
        match next {
            Next::Continue => {
                assert!(!exchange.replied, "{headers}");
                exchange.paused = false;
                exchange.at_headers = false;
                exchange.held_back = 0;
            }
            Next::Pause | Next::Watermark => {
                exchange.paused = true;
                exchange.at_headers |= at_headers;
            }
        }
    }

    /// Returns how many requests were admitted by leases.
    fn run(mut self) -> i64 {
        let fails = self.errors > 0;
        for _ in 0..250 {
            match self.random.below(12) {
                0 | 1 if self.exchanges.len() < 12 => self.begin(),
                2 | 3 => {
                    if let Some(index) = self.pick() {
                        self.send(index);
                    }
                }
                4 | 5 => {
                    if let Some(index) = self.pick() {
                        self.respond(index);
                    }
                }
                6 => {
                    if self.random.one_in(2)
                        && let Some(index) = self.pick()
                    {
                        self.end(index);
                    }
                }
                7..=9 => self.answer(),
                10 if self.errors > 0 && self.random.one_in(2) => {
                    let times = self.random.one_of(&[1, 2, 3]);
                    self.envoy
                        .host
                        .fail(Call::CallGrpc, times, HostError::InternalFailure);
                }
                10 => {
                    let ms = self.random.one_of(&[10, 10, 50, 400, 2_000, 30_000]);
                    self.tick(ms);
                }
                _ => {
                    if let Some(index) = self.pick()
                        && (self.exchanges[index].response == Progress::Whole
                            || self.exchanges[index].replied)
                    {
                        self.end(index);
                    }
                }
            }
        }
        // Everything is sent and answered, until no stream waits.
        for round in 0..400 {
            for index in 0..self.exchanges.len() {
                self.send(index);
            }
            self.errors = 0;
            for _ in 0..40 {
                self.answer();
            }
            self.tick(if round < 100 { 10 } else { 100 });
        }
        for exchange in &self.exchanges {
            let waits = exchange.paused
                && !exchange.replied
                && exchange.response == Progress::Nothing
                && exchange.ended;
            assert!(
                !waits,
                "waits for ever: {} {:?} {:?}",
                self.what, exchange.trail, exchange.stream.state
            );
        }
        assert_eq!(
            self.envoy.host.metric("tollgate.queued"),
            0,
            "{}",
            self.what
        );
        while let Some(index) = self.pick() {
            self.end(index);
        }
        for _ in 0..200 {
            for _ in 0..40 {
                self.answer();
            }
            self.tick(100);
        }
        for (name, value) in self.envoy.host.metrics.borrow().iter() {
            if name.starts_with("tollgate.reserved") || name.ends_with("pending") {
                assert_eq!(*value, 0, "{name} {}", self.what);
            }
        }
        // At a service without checks, what a check adds cannot be headers from usage.
        if self.is_exact {
            let counted = (self.counted("tokenlimit.free"), self.counted("limit.free"));
            assert_eq!(counted, (self.tokens, self.admitted), "{}", self.what);
        }
        // Reservations are not released while the circuit is open.
        let log = self.envoy.log.lines();
        let circuit_was_open = log
            .iter()
            .any(|(_, line)| line.contains("storage_circuit_open"));
        assert!(
            fails || circuit_was_open || self.limitador.reserved.is_empty(),
            "{}",
            self.what
        );
        let leased = self.envoy.host.metric("tollgate.storage_lease_admissions");
        self.releases_everything();
        leased
    }

    fn counted(&self, start: &str) -> u64 {
        let used = self.limitador.used.iter();
        used.filter(|((_, descriptor), _)| {
            entries(descriptor)
                .iter()
                .any(|(key, _)| key.starts_with(start))
        })
        .map(|(_, used)| used)
        .sum()
    }

    /// Checks that nothing is reserved any more in this Envoy's own count.
    fn releases_everything(&mut self) {
        // The circuit closes, and no failure of a call rejects the requests of this check.
        self.errors = 0;
        self.envoy.host.recover();
        for _ in 0..40 {
            self.tick(3_000);
            self.answer();
        }
        self.limitador.used.clear();
        self.limitador.reserved.clear();
        for user in ["alice", "bob"] {
            let mut stream = self.envoy.stream();
            let mut headers = request(user).to_vec();
            headers.push(("content-length", "2"));
            self.envoy.host.set_headers(HeaderMap::Request, &headers);
            stream.on_request_headers(true);
            self.exchanges.push(Exchange {
                stream,
                body: vec![],
                passed: 0,
                held_back: 0,
                ended: true,
                buffer: vec![],
                sent: vec![],
                headers: vec![],
                at_headers: true,
                paused: true,
                replied: false,
                response: Progress::Nothing,
                trail: vec![],
            });
            self.answered
                .resize(self.envoy.host.grpc.borrow().len(), false);
            for _ in 0..40 {
                self.answer();
            }
            let exchange = &self.exchanges[0];
            let standings = exchange.stream.standings();
            let state = &exchange.stream.state;
            assert!(!standings.is_empty(), "{} {state:?}", self.what);
            for standing in standings {
                assert_eq!(standing.reserved, 0, "{} {user}", self.what);
            }
            self.end(0);
            for _ in 0..40 {
                self.answer();
            }
        }
    }
}

#[test]
fn random_events_count_each_exchange_once() {
    for seed in 1..=4 {
        for storage in [RESERVE, CHECK, RLS, LOCAL] {
            for (errors, holds) in [(0, false), (0, true), (4, false), (4, true)] {
                RandomEvents::new(seed, storage, errors, holds).run();
            }
        }
    }
}

#[test]
fn random_events_with_leases_count_exchanges_once() {
    let mut leased = 0;
    for seed in 1..=32 {
        for (errors, holds) in [(0, false), (0, true), (4, false), (4, true)] {
            leased += RandomEvents::new(seed, LEASED, errors, holds).run();
        }
    }
    assert!(leased > 50, "{leased} requests were admitted by leases");
}
