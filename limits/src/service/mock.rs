//! A limitador for tests: one limit for every counter, and failures on command.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test double, which is never part of the module"
)]

use super::message::{CommitRequest, Descriptor, RateLimitRequest, ReserveRequest};
use prost::Message;
use std::collections::{BTreeMap, HashMap};

/// The reply to a call: its message, or the gRPC status of its failure.
pub type MockReply = Result<Vec<u8>, u32>;

/// A limitador in memory.
#[derive(Debug, Default)]
pub struct Limitador {
    /// The limit of every counter that has none of its own.
    pub limit: u64,
    /// Limits of some counters, by how the key of an entry begins.
    pub limits: Vec<(&'static str, u64)>,
    /// The usage, by domain and descriptor.
    pub used: BTreeMap<(String, Vec<u8>), u64>,
    /// The descriptor and amount of each reservation, by its ID.
    pub reserved: HashMap<String, (Vec<u8>, u64)>,
    /// Whether it does not implement `Reserve` and `Commit`.
    pub lacks_reserve: bool,
    reservations: u32,
}

/// Returns the pairs of a serialized descriptor.
#[must_use]
pub fn entries(descriptor: &[u8]) -> Vec<(String, String)> {
    let descriptor = Descriptor::decode(descriptor).unwrap();
    let entries = descriptor.entries.into_iter();
    entries.map(|entry| (entry.key, entry.value)).collect()
}

impl Limitador {
    /// Returns a service with one limit for all counters.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Returns the usage of all counters.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.used.values().sum()
    }

    /// Replies to a call, as limitador does.
    ///
    /// # Errors
    /// `UNIMPLEMENTED` for a method that it lacks.
    pub fn call(&mut self, method: &str, message: &[u8]) -> MockReply {
        match method {
            "Reserve" | "Commit" if self.lacks_reserve => Err(12),
            "Reserve" => {
                let request = ReserveRequest::decode(message).unwrap();
                let [descriptor] = request.descriptors.as_slice() else {
                    panic!("one descriptor");
                };
                let reserved = self.reserved.values().filter(|(of, _)| of == descriptor);
                let reserved: u64 = reserved.map(|(_, amount)| amount).sum();
                let used = self.used(&request.domain, descriptor);
                if used + reserved + request.amount > self.limit(descriptor) {
                    return Ok(vec![8, 2]);
                }
                if entries(descriptor)[0].0 == "tollgate.probe" {
                    return Ok(vec![8, 1]);
                }
                self.reservations += 1;
                let id = format!("reservation {}", self.reservations);
                self.reserved
                    .insert(id.clone(), (descriptor.clone(), request.amount));
                let mut reply = vec![8, 1, 0x12, u8::try_from(id.len()).unwrap()];
                reply.extend(id.as_bytes());
                Ok(reply)
            }
            "Commit" => {
                let request = CommitRequest::decode(message).unwrap();
                self.reserved.remove(&request.reservation_id);
                self.add(
                    &request.domain,
                    &request.descriptors[0],
                    request.actual_amount,
                );
                Ok(Vec::new())
            }
            method => {
                let request = RateLimitRequest::decode(message).unwrap();
                let hits = u64::from(request.hits_addend).max(1);
                let descriptor = &request.descriptors[0];
                let over = self.used(&request.domain, descriptor) + hits > self.limit(descriptor);
                match method {
                    "CheckRateLimit" => {
                        assert_eq!(request.hits_addend, 0);
                        let used = self.used(&request.domain, descriptor);
                        Ok(vec![8, if used < self.limit(descriptor) { 1 } else { 2 }])
                    }
                    "Report" => {
                        self.add(&request.domain, descriptor, hits);
                        Ok(vec![8, 1])
                    }
                    _ if over => Ok(vec![8, 2]),
                    _ => {
                        self.add(&request.domain, descriptor, hits);
                        Ok(vec![8, 1])
                    }
                }
            }
        }
    }

    /// Returns the limit of a descriptor.
    fn limit(&self, descriptor: &[u8]) -> u64 {
        let entries = entries(descriptor);
        let applies =
            |(start, _): &&(&str, u64)| entries.iter().any(|(key, _)| key.starts_with(start));
        let own = self.limits.iter().filter(applies).map(|(_, most)| *most);
        own.min().unwrap_or(self.limit)
    }

    /// Returns the key of a counter: the descriptor without its hits.
    fn key(domain: &str, descriptor: &[u8]) -> (String, Vec<u8>) {
        let descriptor = Descriptor::decode(descriptor).unwrap();
        (domain.to_owned(), descriptor.encode_to_vec())
    }

    fn used(&self, domain: &str, descriptor: &[u8]) -> u64 {
        let used = self.used.get(&Self::key(domain, descriptor));
        used.copied().unwrap_or_default()
    }

    fn add(&mut self, domain: &str, descriptor: &[u8], hits: u64) {
        if entries(descriptor)[0].0 != "tollgate.probe" {
            *self.used.entry(Self::key(domain, descriptor)).or_default() += hits;
        }
    }
}
