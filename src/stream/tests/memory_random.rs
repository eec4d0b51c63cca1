//! Random exchanges under a budget that does not suffice for them: it is never exceeded by more than what one callback
//! copies, and counters have no less than what is logged of each exchange.

use super::harness::*;
use crate::host::{Buffer, HeaderMap};
use crate::memory::{Share, allocated, peak, reset_peak};
use crate::stream::Stream;
use proptest::prelude::*;

const MEBIBYTE: usize = 1 << 20;

/// The smallest budget that can be configured.
const BUDGET: usize = 32 * MEBIBYTE;

/// What the filter copies in one callback, at most: the largest piece or whole body several times; and what this test and
/// its double of Envoy keep.
const SLACK: usize = 4 * MEBIBYTE;

/// What a request reserves.
const RESERVED: u64 = 400;

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    /// A request begins, with so many bytes of headers.
    Begin { headers: usize, is_stream: bool },
    /// A part of a body arrives, and whether it is the last.
    Piece {
        of: usize,
        bytes: usize,
        is_last: bool,
    },
    /// The upstream responds with so many tokens.
    Respond { of: usize, tokens: u64 },
    /// The client disconnects.
    Disconnect { of: usize },
    /// Something else takes so many mebibytes of the budget.
    Others { mebibytes: usize },
}

fn event() -> impl Strategy<Value = Event> {
    let of = || any::<prop::sample::Index>().prop_map(|index| index.index(1 << 16));
    prop_oneof![
        4 => (0..60_000_usize, any::<bool>())
            .prop_map(|(headers, is_stream)| Event::Begin { headers, is_stream }),
        6 => (of(), 1..200_000_usize, any::<bool>())
            .prop_map(|(of, bytes, is_last)| Event::Piece { of, bytes, is_last }),
        3 => (of(), 0..100_u64).prop_map(|(of, tokens)| Event::Respond { of, tokens }),
        1 => of().prop_map(|of| Event::Disconnect { of }),
        1 => (0..33_usize).prop_map(|mebibytes| Event::Others { mebibytes }),
    ]
}

/// An exchange that has not ended.
struct Open {
    stream: Stream,
    has_body: bool,
    text: &'static str,
}

/// The filter, its open exchanges, and the tokens that were logged.
struct Exchanges {
    envoy: Envoy,
    open: Vec<Open>,
    others: Vec<u8>,
    logged: u64,
}

impl Exchanges {
    fn new() -> Self {
        let spec = r#", "when": [{ "predicate": "size(requestBodyJSON('')) > 0 || true" }],
            "cost": "usage.total_tokens + (has(request.headers.a) ? 0 : 0)""#;
        let rest = format!(r#", "memory": {{ "perWorker": {BUDGET} }}"#);
        let limits = configuration(spec, &rest);
        let limits = limits.replace(r#""limit": 50"#, r#""limit": 1000000000"#);
        Self {
            envoy: Envoy::with(&limits),
            open: Vec::new(),
            others: Vec::new(),
            logged: 0,
        }
    }

    fn end(&mut self, mut open: Open) {
        self.envoy.host.filter_state.borrow_mut().clear();
        open.stream.on_log();
        let tokens = self.envoy.state("tollgate.total_tokens");
        self.logged += tokens.map_or(0, |tokens| tokens.parse::<u64>().unwrap());
    }

    fn apply(&mut self, event: &Event) {
        let host = &self.envoy.host;
        match *event {
            Event::Others { mebibytes } => {
                self.others = Vec::new();
                let bytes = (mebibytes * MEBIBYTE).saturating_sub(allocated());
                self.others = vec![0; bytes];
                reset_peak();
            }
            Event::Begin { headers, is_stream } => {
                let filler = "x".repeat(headers);
                let mut stream = self.envoy.stream();
                let mut all = request("alice").to_vec();
                all.push(("x-filler", &filler));
                self.envoy.host.set_headers(HeaderMap::Request, &all);
                stream.on_request_headers(false);
                let text = if is_stream {
                    r#"{"stream":true,"a":""#
                } else {
                    r#"[{"":{"":0}},"#
                };
                self.open.push(Open {
                    stream,
                    has_body: false,
                    text,
                });
            }
            _ if self.open.is_empty() => {}
            Event::Piece { of, bytes, is_last } => {
                let of = of % self.open.len();
                let open = &mut self.open[of];
                if !open.has_body {
                    let piece = open.text.repeat(bytes.div_ceil(open.text.len()));
                    host.set_buffer(Buffer::RequestBody, piece.as_bytes());
                    open.stream.on_request_body(piece.len(), is_last);
                    open.has_body = is_last;
                }
            }
            Event::Respond { of, tokens } => {
                let of = of % self.open.len();
                let mut open = self.open.swap_remove(of);
                self.envoy.host.set_headers(
                    HeaderMap::Response,
                    &[(":status", "200"), ("content-type", "application/json")],
                );
                open.stream.on_response_headers(false);
                self.envoy.body(&mut open.stream, &completion(tokens), true);
                self.end(open);
            }
            Event::Disconnect { of } => {
                let of = of % self.open.len();
                let open = self.open.swap_remove(of);
                self.end(open);
            }
        }
        let host = &self.envoy.host;
        host.calls.borrow_mut().clear();
        host.replies.borrow_mut().clear();
        host.buffers.borrow_mut().clear();
        host.headers.borrow_mut().clear();
    }

    /// The tokens that the counter has.
    fn counted(&mut self) -> u64 {
        self.others = Vec::new();
        while let Some(open) = self.open.pop() {
            self.end(open);
        }
        let mut stream = self.envoy.stream();
        stream.on_request_headers(false);
        self.envoy.host.set_buffer(Buffer::RequestBody, b"[1]");
        stream.on_request_body(3, true);
        stream.standings()[0].used
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn random_exchanges_stay_within_the_budget(events in prop::collection::vec(event(), 1..250)) {
        let mut exchanges = Exchanges::new();
        for event in &events {
            reset_peak();
            let before = allocated();
            exchanges.apply(event);
            if !matches!(event, Event::Others { .. }) {
                let bound = BUDGET.max(before) + SLACK;
                prop_assert!(peak() <= bound, "{event:?}: {} of {bound}", peak());
            }
        }
        // Without memory for what its cost reads, an exchange costs at least what it has reserved.
        let (counted, logged) = (exchanges.counted(), exchanges.logged);
        let responses = events.iter().filter(|event| matches!(event, Event::Respond { .. })).count() as u64;
        prop_assert!((logged..=logged + responses * RESERVED).contains(&counted), "{counted}, {logged}");
        for share in [Share::Bodies, Share::Headers, Share::Values, Share::Queue] {
            prop_assert!(share.used() < MEBIBYTE, "{share:?}");
        }
    }
}
