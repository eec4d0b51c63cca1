//! What can happen to an exchange.

use super::{Exchange, MS, Progress, RandomEvents};
use crate::host::HeaderMap;
use crate::stream::Next;
use crate::stream::tests::corrections::{TEXT, usage};
use crate::stream::tests::harness::{completion, request};
use limits::service::{CallId, CheckReply};

impl RandomEvents {
    pub(super) fn begin(&mut self) {
        let user = self.random.one_of(&["alice", "bob"]);
        let model = self.random.one_of(&["large", "middle", "m"]);
        let max = 1 + self.random.below(30);
        let stream = if self.random.one_in(3) {
            r#","stream":true"#
        } else {
            ""
        };
        let body = format!(r#"{{"model":"{model}","max_tokens":{max}{stream}}}"#);
        let has_body = !self.random.one_in(5);
        let encoded = self.random.one_in(8);
        let length = body.len().to_string();
        let stream = self.envoy.stream();
        let mut headers = request(user).to_vec();
        if !self.random.one_in(3) {
            headers.push(("content-length", &length));
        }
        if encoded {
            headers.push(("content-encoding", "gzip"));
        }
        let pairs = headers
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec()))
            .collect();
        self.exchanges.push(Exchange {
            stream,
            body: if has_body {
                body.into_bytes()
            } else {
                Vec::new()
            },
            passed: 0,
            held_back: 0,
            ended: !has_body,
            buffer: Vec::new(),
            sent: Vec::new(),
            headers: pairs,
            at_headers: false,
            paused: false,
            replied: false,
            response: Progress::Nothing,
            trail: vec![user.to_owned()],
        });
        let index = self.exchanges.len() - 1;
        let next = self.act(index, "headers", false, |_, stream| {
            stream.on_request_headers(!has_body)
        });
        self.came(index, next, true);
    }

    pub(super) fn send(&mut self, index: usize) {
        let holds = self.holds;
        let all = !self.random.one_in(3);
        let trailers = self.random.one_in(6);
        let exchange = &mut self.exchanges[index];
        if exchange.ended
            || exchange.replied
            || exchange.response != Progress::Nothing
            || (exchange.at_headers && !holds)
        {
            return;
        }
        let rest = exchange.body.len() - exchange.passed;
        let size = if all { rest } else { rest / 2 };
        let chunk = exchange.body[exchange.passed..exchange.passed + size].to_vec();
        exchange.passed += size;
        let ends = all && !trailers;
        exchange.ended = all;
        let kept: Vec<u8> = exchange
            .buffer
            .iter()
            .take(exchange.held_back)
            .copied()
            .collect();
        exchange.buffer = [kept, chunk].concat();
        let size = exchange.buffer.len();
        let next = self.act(index, "body", false, |_, stream| {
            stream.on_request_body(size, ends)
        });
        self.came(index, next, false);
        let exchange = &mut self.exchanges[index];
        if next != Next::Pause {
            exchange.sent.append(&mut exchange.buffer.clone());
        }
        exchange.held_back = if next == Next::Pause {
            exchange.buffer.len()
        } else {
            0
        };
        if all && trailers && !exchange.replied {
            let next = self.act(index, "trailers", false, |_, stream| {
                stream.on_request_trailers()
            });
            self.came(index, next, false);
        }
    }

    pub(super) fn respond(&mut self, index: usize) {
        let exchange = &self.exchanges[index];
        let held = exchange.at_headers || (self.holds && exchange.paused);
        if exchange.replied
            || held
            || exchange.response == Progress::Whole
            || (self.holds && !exchange.ended)
        {
            return;
        }
        if exchange.response == Progress::Nothing {
            let status = match self.random.below(8) {
                0 => "401",
                1 => "101",
                _ => "200",
            };
            if exchange.paused && !self.random.one_in(6) {
                return;
            }
            let is_stream = self.random.one_in(2);
            let kind = if is_stream {
                "text/event-stream"
            } else {
                "application/json"
            };
            let headers = [(":status", status), ("content-type", kind)];
            let next = self.act(
                index,
                &format!("response {status}"),
                true,
                |storm, stream| {
                    storm.envoy.host.set_headers(HeaderMap::Response, &headers);
                    stream.on_response_headers(false)
                },
            );
            let exchange = &mut self.exchanges[index];
            assert_eq!(
                next == Next::Pause,
                exchange.replied,
                "{} {:?}",
                self.what,
                exchange.trail
            );
            exchange.response = if is_stream {
                Progress::Events(0)
            } else {
                Progress::Headers
            };
        } else if let Progress::Events(before) = self.exchanges[index].response {
            // A service is never sent too much, which would leave it with a credit.
            let tokens = before.max(1) + u64::try_from(self.random.below(20)).unwrap();
            let is_end = self.random.one_in(2);
            let body = TEXT.to_owned() + &usage(tokens);
            self.act(
                index,
                &format!("response events {tokens} {is_end}"),
                false,
                |storm, stream| storm.envoy.body(stream, &body, is_end),
            );
            self.exchanges[index].response = if is_end {
                Progress::Whole
            } else {
                Progress::Events(tokens)
            };
        } else {
            let tokens = u64::try_from(self.random.below(40)).unwrap();
            self.act(
                index,
                &format!("response body {tokens}"),
                false,
                |storm, stream| storm.envoy.body(stream, &completion(tokens), true),
            );
            self.exchanges[index].response = Progress::Whole;
        }
    }

    pub(super) fn end(&mut self, index: usize) {
        self.envoy.host.filter_state.borrow_mut().clear();
        if self.random.one_in(2) {
            self.envoy.host.set_property(
                &["response", "code_details"],
                b"downstream_remote_disconnect",
            );
        } else {
            self.envoy
                .host
                .set_property(&["response", "code_details"], b"via_upstream");
        }
        self.act(index, "log", false, |_, stream| stream.on_log());
        let state = |key: &str| self.envoy.state(key);
        let decision = state("tollgate.decision").unwrap_or_default();
        if let Some(tokens) = state("tollgate.total_tokens") {
            self.tokens += tokens.parse::<u64>().unwrap();
        }
        let exchange = self.exchanges.swap_remove(index);
        if exchange.ended && !exchange.paused && !exchange.replied {
            // A fallback changes the model, and a stream gets `stream_options`: nothing is lost.
            let mut sent = exchange.sent.clone();
            sent.extend(exchange.buffer.iter().take(exchange.held_back));
            let max_tokens = |body: &[u8]| {
                let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
                body.map(|body| body["max_tokens"].clone())
            };
            let sent = max_tokens(&sent);
            let expected = max_tokens(&exchange.body);
            assert_eq!(sent, expected, "{} {:?}", self.what, exchange.trail);
        }
        let went = [
            "admitted",
            "queued",
            "alternative",
            "shadow_denied",
            "failed_open",
        ];
        self.admitted += u64::from(went.contains(&decision.as_str()));
        if decision == "denied" || decision == "failed" {
            assert!(exchange.replied, "{} {:?}", self.what, exchange.trail);
        }
    }

    pub(super) fn find(&self, context: u32) -> Option<usize> {
        self.exchanges
            .iter()
            .position(|exchange| exchange.stream.id == context)
    }

    pub(super) fn answer(&mut self) {
        self.answered
            .resize(self.envoy.host.grpc.borrow().len(), false);
        let open: Vec<usize> = (0..self.answered.len())
            .filter(|at| !self.answered[*at])
            .collect();
        if open.is_empty() {
            return;
        }
        let at = open[self.random.below(open.len())];
        self.answered[at] = true;
        let call = self.envoy.host.grpc.borrow()[at].clone();
        let fails = self.errors > 0 && self.random.one_in(self.errors);
        let said = if fails {
            match self.random.below(6) {
                0 => Ok(vec![0x0a, 0xff]),
                1 if call.method == "Reserve" => Err(12),
                2 => Err(3),
                _ => Err(14),
            }
        } else {
            self.limitador.call(&call.method, &call.message)
        };
        let token = u32::try_from(at + 1).unwrap();
        let plugin = self.envoy.plugin.clone();
        let next = plugin.on_reply(CallId(token), said.as_deref().map_err(|s| *s));
        self.deliver(next, &format!("answer {} {said:?}", call.method));
    }

    fn deliver(&mut self, reply: Option<CheckReply>, what: &str) {
        let plugin = self.envoy.plugin.clone();
        plugin.deliver_replies(reply, |reply| {
            let Some(index) = self.find(reply.stream) else {
                return Some(reply);
            };
            self.act(index, what, true, |_, stream| stream.on_check_reply(reply));
            None
        });
    }

    pub(super) fn tick(&mut self, ms: u64) {
        let clock = &self.envoy.host.clock;
        clock.set(clock.get() + ms * MS);
        let plugin = self.envoy.plugin.clone();
        plugin.on_tick();
        self.deliver(None, "tick");
        plugin.poll_queue(|context| {
            let index = self.find(context)?;
            Some(self.act(index, "turn", true, |_, stream| stream.poll_queue()))
        });
    }

    pub(super) fn pick(&mut self) -> Option<usize> {
        let len = self.exchanges.len();
        (len > 0).then(|| self.random.below(len))
    }
}
