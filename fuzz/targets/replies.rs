//! A rate limit service may reply anything, to any call, in any order: a check has the result that its reply says, each
//! check has one, and what was settled is what the service has confirmed and what the client has reported as lost.
#![no_main]

use libfuzzer_sys::fuzz_target;
use limits::service::message::{CommitRequest, RateLimitRequest};
use limits::service::{
    CallId, CheckReply, CheckRequest, CheckResult, DescriptorSet, GrpcCall, LimitEntries,
    MAX_REPLY_BYTES, Metadata, Observer, Protocol, QueueBounds, ReservationId, ServiceClient,
    ServiceEvent, ServiceSettings, Transport, TransportError,
};
use limits::{Nanos, SharedData, SharedDataError, Timestamp};
use prost::Message;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

/// `UNIMPLEMENTED` of gRPC.
const UNIMPLEMENTED: u32 = 12;

/// The longest reservation ID that is kept.
const MAX_RESERVATION_BYTES: usize = 256;

/// `envoy.service.ratelimit.v3.RateLimitResponse`, as far as it decides.
#[derive(Clone, PartialEq, Message)]
struct RateLimitResponse {
    #[prost(int32, tag = "1")]
    overall_code: i32,
    #[prost(message, repeated, tag = "2")]
    statuses: Vec<Status>,
    #[prost(message, repeated, tag = "3")]
    headers: Vec<Header>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(message, optional, tag = "2")]
    current_limit: Option<Limit>,
    #[prost(uint32, tag = "3")]
    limit_remaining: u32,
    #[prost(message, optional, tag = "4")]
    duration_until_reset: Option<prost_types::Duration>,
}

#[derive(Clone, PartialEq, Message)]
struct Limit {
    #[prost(uint32, tag = "1")]
    requests_per_unit: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    raw_value: Vec<u8>,
}

/// `kuadrant.service.ratelimit.v1.ReserveResponse`.
#[derive(Clone, PartialEq, Message)]
struct ReserveResponse {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    reservation_id: String,
}

/// A call that has no reply yet.
#[derive(Clone, Debug)]
struct Sent {
    method: String,
    /// What it adds to the counters.
    amount: u64,
}

/// What is around a client: it makes calls and takes note of events.
#[derive(Default)]
struct World {
    calls: RefCell<BTreeMap<u32, Sent>>,
    next: Cell<u32>,
    /// The number of calls that cannot be made.
    unmade: Cell<u32>,
    lost: Cell<u64>,
    shared: RefCell<HashMap<Vec<u8>, (Vec<u8>, u32)>>,
}

// === impl World ===

impl Transport for World {
    fn call_grpc(&self, call: &GrpcCall<'_>) -> Result<CallId, TransportError> {
        if let Some(left) = self.unmade.get().checked_sub(1) {
            self.unmade.set(left);
            return Err(TransportError("no such cluster".to_owned()));
        }
        let amount = match call.method {
            "Commit" => {
                CommitRequest::decode(call.message)
                    .expect("valid")
                    .actual_amount
            }
            "Reserve" => 0,
            _ => u64::from(
                RateLimitRequest::decode(call.message)
                    .expect("valid")
                    .hits_addend,
            ),
        };
        // The lowest bits are those of checks that wait.
        let id = self.next.get() + 4;
        self.next.set(id);
        let method = call.method.to_owned();
        self.calls.borrow_mut().insert(id, Sent { method, amount });
        Ok(CallId(id))
    }
}

impl Observer for World {
    fn observe(&self, event: ServiceEvent) {
        if let ServiceEvent::SettlementLost { amount } = event {
            self.lost.set(self.lost.get() + amount);
        }
    }
}

impl SharedData for World {
    fn shared_data(&self, key: &[u8]) -> Result<Option<(Vec<u8>, u32)>, SharedDataError> {
        Ok(self.shared.borrow().get(key).cloned())
    }

    fn set_shared_data(&self, key: &[u8], value: &[u8], _: u32) -> Result<(), SharedDataError> {
        let mut shared = self.shared.borrow_mut();
        let version = shared.get(key).map_or(1, |(_, version)| version + 1);
        shared.insert(key.to_vec(), (value.to_vec(), version));
        Ok(())
    }
}

/// A client, and what is known of it.
struct Trial {
    world: Rc<World>,
    client: ServiceClient,
    now: Timestamp,
    /// The streams of checks without a result.
    checks: HashSet<u32>,
    streams: u32,
    reservations: Vec<(Rc<DescriptorSet>, ReservationId)>,
    settled: u64,
    confirmed: u64,
}

// === impl Trial ===

impl Trial {
    fn new(protocol: Protocol, flush: u8) -> Self {
        let world = Rc::new(World::default());
        let settings = ServiceSettings {
            cluster: "limitador".to_owned(),
            protocol,
            timeout: Nanos::from_millis(100),
            flush_interval: Nanos::from_millis(u64::from(flush)),
            queue: QueueBounds {
                entries: 4,
                bytes: 4096,
            },
        };
        let client = ServiceClient::new(
            settings,
            Rc::clone(&world) as Rc<dyn Transport>,
            Rc::clone(&world) as Rc<dyn Observer>,
            Rc::clone(&world) as Rc<dyn SharedData>,
            1,
        );
        Self {
            world,
            client,
            now: Timestamp::new(1_780_000_000_000_000_000),
            checks: HashSet::new(),
            streams: 0,
            reservations: Vec::new(),
            settled: 0,
            confirmed: 0,
        }
    }

    /// The counters of one of a few callers.
    fn descriptors(&self, caller: u8) -> Rc<DescriptorSet> {
        let counters = [(Rc::from("user"), Rc::from((caller % 7).to_string()))];
        let limit = LimitEntries {
            key: "limit",
            counters: &counters,
        };
        let layout = self.client.layout();
        Rc::new(DescriptorSet::new(Rc::from("domain"), &[limit], 1, layout))
    }

    fn check(&mut self, caller: u8) {
        self.streams += 1;
        let request = CheckRequest {
            descriptors: self.descriptors(caller),
            amount: u64::from(caller),
            ttl: Nanos::from_secs(60),
        };
        let call = self
            .client
            .check(self.now, self.streams, &request, &Metadata::new());
        if call.is_ok() {
            self.checks.insert(self.streams);
        }
    }

    fn settle(&mut self, caller: u8, amount: u64) {
        let (descriptors, reservation) = match self.reservations.pop() {
            Some((descriptors, id)) => (descriptors, Some(id)),
            None => (self.descriptors(caller), None),
        };
        self.settled += amount;
        self.client.settle(
            self.now,
            &descriptors,
            reservation,
            amount,
            &Metadata::new(),
        );
    }

    /// Replies to one of the calls under way.
    fn reply(&mut self, place: u8, reply: Result<&[u8], u32>) {
        let calls = self.world.calls.borrow();
        let Some((&id, sent)) = calls.iter().nth(usize::from(place) % calls.len().max(1)) else {
            return;
        };
        let sent = sent.clone();
        drop(calls);
        let reply = match reply {
            // What a service does that adds no more than fits is not counted here.
            Ok(bytes) if sent.method == "ShouldRateLimit" && adds_what_fits(bytes) => Err(14),
            reply => reply,
        };
        self.world.calls.borrow_mut().remove(&id);
        if reply.is_ok_and(|bytes| confirms(&sent.method, bytes)) {
            self.confirmed += sent.amount;
        }
        if let Some(result) = self.client.on_reply(self.now, CallId(id), reply) {
            assert_eq!(result.result, expected(&sent.method, reply));
            self.result(result);
        }
        while let Some(result) = self.client.next_ready() {
            self.result(result);
        }
    }

    fn result(&mut self, reply: CheckReply) {
        assert!(self.checks.remove(&reply.stream), "a second result");
        if let CheckResult::Reply(answer) = &reply.result
            && let Some(id) = &answer.reservation
        {
            if answer.is_over_limit {
                self.client.release(self.now, reply);
            } else {
                let held = (Rc::clone(&reply.descriptors), id.clone());
                self.reservations.push(held);
            }
        }
    }

    fn tick(&mut self, milliseconds: u64) {
        self.now = self.now.saturating_add(Nanos::from_millis(milliseconds));
        self.client.on_tick(self.now);
    }

    /// Lets the service confirm everything: then nothing is left.
    fn end(mut self) {
        self.world.unmade.set(0);
        for _ in 0..400 {
            while !self.world.calls.borrow().is_empty() {
                self.reply(0, Ok(&[8, 1]));
            }
            if self.client.drain(self.now) && self.world.calls.borrow().is_empty() {
                break;
            }
            self.tick(1000);
        }
        assert!(self.client.is_drained());
        assert!(
            self.checks.is_empty(),
            "without a result: {:?}",
            self.checks
        );
        assert_eq!(self.confirmed + self.world.lost.get(), self.settled);
    }
}

/// Returns whether a service that replies this has added nothing, because it did not fit.
fn adds_what_fits(bytes: &[u8]) -> bool {
    RateLimitResponse::decode(bytes)
        .is_ok_and(|response| response.overall_code == 2 && response.statuses.is_empty())
}

/// Returns whether a reply says that a service has done what a call asks for.
fn confirms(method: &str, bytes: &[u8]) -> bool {
    let is_valid = match method {
        "Commit" => <()>::decode(bytes).is_ok(),
        _ => RateLimitResponse::decode(bytes)
            .is_ok_and(|response| matches!(response.overall_code, 1 | 2)),
    };
    is_valid && bytes.len() <= MAX_REPLY_BYTES
}

/// Returns the result of a check with this reply.
fn expected(method: &str, reply: Result<&[u8], u32>) -> CheckResult {
    use limits::service::{DescriptorStatus, Reply};

    let bytes = match reply {
        Err(UNIMPLEMENTED) if method == "Reserve" => return CheckResult::Retry,
        Ok(bytes) if bytes.len() <= MAX_REPLY_BYTES => bytes,
        _ => return CheckResult::Failed,
    };
    if method == "Reserve" {
        return match ReserveResponse::decode(bytes) {
            Ok(response) if matches!(response.code, 1 | 2) => {
                let id = response.reservation_id;
                let is_id = (1..=MAX_RESERVATION_BYTES).contains(&id.len());
                CheckResult::Reply(Reply {
                    is_over_limit: response.code == 2,
                    reservation: is_id.then_some(ReservationId(id)),
                    ..Reply::default()
                })
            }
            _ => CheckResult::Failed,
        };
    }
    match RateLimitResponse::decode(bytes) {
        Ok(response) if matches!(response.overall_code, 1 | 2) => {
            let status = |status: &Status| DescriptorStatus {
                is_over_limit: status.code == 2,
                limit: status.current_limit.as_ref().map(|it| it.requests_per_unit),
                remaining: status.limit_remaining,
                resets_in: status.duration_until_reset.as_ref().and_then(|length| {
                    let nanoseconds =
                        i128::from(length.seconds) * 1_000_000_000 + i128::from(length.nanos);
                    let is_positive = length.seconds >= 0 && length.nanos >= 0;
                    let nanoseconds = u64::try_from(nanoseconds).ok()?;
                    is_positive.then_some(Nanos::new(nanoseconds))
                }),
            };
            let header = |header: &Header| {
                let value = match header.value.as_slice() {
                    [] => &header.raw_value,
                    _ => &header.value,
                };
                (header.key.clone(), value.clone())
            };
            CheckResult::Reply(Reply {
                is_over_limit: response.overall_code == 2,
                reservation: None,
                statuses: response.statuses.iter().map(status).collect(),
                headers: response.headers.iter().map(header).collect(),
            })
        }
        _ => CheckResult::Failed,
    }
}

fuzz_target!(|data: &[u8]| {
    // The protocol, how long usage is gathered, and then lines: an action, a number, and the bytes of a reply.
    let Some((&[protocol, flush], rest)) = data.split_first_chunk() else {
        return;
    };
    let protocol = match protocol % 3 {
        0 => Protocol::Reserve,
        1 => Protocol::CheckReport,
        _ => Protocol::EnvoyRls,
    };
    let mut trial = Trial::new(protocol, flush & 15);
    for line in rest.split(|byte| *byte == b'\n').take(200) {
        let Some((&[action, number], bytes)) = line.split_first_chunk() else {
            continue;
        };
        match action {
            b'c' => trial.check(number),
            b's' => trial.settle(number, u64::from(number) << (bytes.len() % 40)),
            b'r' => trial.reply(number, Ok(bytes)),
            b'o' => trial.reply(number, Ok(&[8, 1])),
            // With a status, so that it has added what is over the limit.
            b'l' => trial.reply(number, Ok(&[8, 2, 18, 2, 8, 2])),
            b'g' => {
                let reservation_id = String::from_utf8_lossy(bytes).into_owned();
                let response = ReserveResponse {
                    code: 1 + i32::from(number & 1),
                    reservation_id,
                };
                trial.reply(number >> 1, Ok(&response.encode_to_vec()));
            }
            b'e' => trial.reply(0, Err(u32::from(number % 17))),
            b'u' => trial.world.unmade.set(u32::from(number % 8)),
            b't' => trial.tick(u64::from(number) * 10),
            b'h' => trial.tick(u64::from(number) * 60_000),
            _ => {}
        }
    }
    trial.end();
});
