//! Charges of background responses, deferred until an exchange on any worker fetches the report, or until
//! they expire.

use super::admission::{Admission, RemoteReservation};
use super::charge::Charge;
use crate::policies::{Policies, RateIndex};
use limits::service::{DescriptorSet, ReservationId};
use limits::{GenerationId, Nanos, RecordStore, Reservation, Timestamp};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use usage_meter::Usage;

/// The pages of deferred charges: room for 4,096 in at most 4.3 MB.
const PAGES: u32 = 256;

/// A charge that is deferred.
#[derive(Debug)]
pub(crate) struct DeferredCharge {
    /// The counters of tokens and money, each with its estimated cost, and what is reserved there.
    pub(crate) admission: Admission,
    /// The estimated usage.
    pub(crate) estimate: Usage,
    /// The model that was requested, if its name is short.
    pub(crate) model: Option<String>,
}

/// The deferred charges of a worker.
pub(super) struct DeferredCharges {
    pub(super) records: RecordStore,
    /// When records expire that this worker has stored, and the pages that they are on.
    pub(super) stored: RefCell<VecDeque<(Timestamp, u64)>>,
}

// === impl DeferredCharge ===

impl DeferredCharge {
    /// Returns a cost in proportion to so many tokens, where it is that of the estimated usage.
    pub(crate) fn in_proportion(cost: u64, tokens: u64, estimated: u64) -> u64 {
        let scaled = u128::from(cost).saturating_mul(tokens.into());
        let scaled = scaled.checked_div(estimated.into());
        scaled.map_or(tokens, |cost| u64::try_from(cost).unwrap_or(u64::MAX))
    }

    /// Raises the estimate to so many output tokens. Returns whether it was lower.
    pub(super) fn raise(&mut self, output_tokens: u64) -> bool {
        let Usage {
            input_tokens,
            output_tokens: known,
            total_tokens: before,
            ..
        } = self.estimate;
        if output_tokens <= known {
            return false;
        }
        let total_tokens = input_tokens.saturating_add(output_tokens);
        self.estimate.output_tokens = output_tokens;
        self.estimate.total_tokens = total_tokens;
        for charge in &mut self.admission.charges {
            let cost = &mut charge.counter.cost;
            *cost = Self::in_proportion(*cost, total_tokens, before);
        }
        true
    }
}

// === impl DeferredCharges ===

impl DeferredCharges {
    /// Returns the deferred charges at the rates of these policies. Those of others may be in the same memory.
    pub(super) fn new(policies: &Rc<Policies>) -> Self {
        let policies = Rc::clone(policies);
        let is_own = move |bytes: &[u8]| {
            decode(&policies, bytes).is_some_and(|it| !it.admission.charges.is_empty())
        };
        Self {
            records: RecordStore::new(PAGES, is_own),
            stored: RefCell::default(),
        }
    }
}

/// Returns a record: whole numbers of eight bytes, little-endian, and texts after their lengths.
pub(super) fn encode<'a>(
    policies: &Policies,
    charges: &[Charge],
    remote: impl Iterator<Item = &'a RemoteReservation>,
    estimate: &Usage,
    model: Option<&str>,
) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.number(estimate.input_tokens);
    encoder.number(estimate.output_tokens);
    encoder.text(model.unwrap_or_default().as_bytes());
    encoder.length(charges.len());
    for Charge { counter, .. } in charges {
        encoder.number(counter.rate.tag());
        encoder.number(counter.rate.window().length.as_u64());
        encoder.key(counter.key);
        encoder.number(counter.limit);
        encoder.number(counter.amount);
        encoder.number(counter.generation.to_u64());
        encoder.number(counter.cost);
    }
    for it in remote {
        let (rate, key) = it.counter;
        let rate = policies.rate(rate).map(|rate| rate.counters.tag());
        encoder.number(rate.unwrap_or_default());
        encoder.key(key);
        encoder.number(it.added);
        let reservation = it.reservation.as_ref().map(|id| id.0.as_bytes());
        encoder.text(reservation.unwrap_or_default());
        encoder.text(it.descriptors.domain.as_bytes());
        encoder.key(it.descriptors.limits);
        encoder.length(it.descriptors.descriptors.len());
        for descriptor in &it.descriptors.descriptors {
            encoder.text(descriptor);
        }
    }
    encoder.0
}

/// Reads a record. Rates that the configuration no longer has are left out.
pub(super) fn decode(policies: &Policies, bytes: &[u8]) -> Option<DeferredCharge> {
    Decoder(bytes).deferred(policies)
}

/// The bytes of a record that is written.
#[derive(Default)]
struct Encoder(Vec<u8>);

/// The rest of a record that is read.
struct Decoder<'a>(&'a [u8]);

// === impl Encoder ===

impl Encoder {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn key(&mut self, key: u128) {
        self.0.extend(key.to_le_bytes());
    }

    fn length(&mut self, length: usize) {
        self.number(length as u64);
    }

    fn text(&mut self, text: &[u8]) {
        self.length(text.len());
        self.0.extend(text);
    }
}

// === impl Decoder ===

impl<'a> Decoder<'a> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn key(&mut self) -> Option<u128> {
        let (key, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u128::from_le_bytes(*key))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    fn string(&mut self) -> Option<&'a str> {
        str::from_utf8(self.text()?).ok()
    }

    fn deferred(mut self, policies: &Policies) -> Option<DeferredCharge> {
        let (input_tokens, output_tokens) = (self.number()?, self.number()?);
        let model = self.string()?;
        let mut admission = Admission::default();
        for _ in 0..self.number()? {
            self.charge(policies, &mut admission)?;
        }
        while !self.0.is_empty() {
            self.remote(policies, &mut admission)?;
        }
        Some(DeferredCharge {
            admission,
            estimate: Usage::new(input_tokens, output_tokens),
            model: (!model.is_empty()).then(|| model.to_owned()),
        })
    }

    fn charge(&mut self, policies: &Policies, admission: &mut Admission) -> Option<()> {
        let tag = self.number()?;
        let length = Nanos::new(self.number()?);
        let (key, limit, amount) = (self.key()?, self.number()?, self.number()?);
        let generation = GenerationId::from_u64(self.number()?);
        let cost = self.number()?;
        if let Some(index) = index_of(policies, tag)
            && let Some(rate) = policies.rate(index)
        {
            let counters = rate.counters.with_length(length);
            admission.charges.push(Charge {
                rate: index,
                unit: rate.unit,
                is_enforced: true,
                ttl: Charge::DEFAULT_TTL,
                counter: Reservation {
                    generation,
                    cost,
                    ..Reservation::new(counters, key, limit, amount)
                },
            });
        }
        Some(())
    }

    fn remote(&mut self, policies: &Policies, admission: &mut Admission) -> Option<()> {
        let (tag, key, added) = (self.number()?, self.key()?, self.number()?);
        let reservation = self.string()?;
        let domain = self.string()?.into();
        let limits = self.key()?;
        let mut descriptors = Vec::new();
        for _ in 0..self.number()? {
            descriptors.push(self.text()?.to_vec());
        }
        if let Some(rate) = index_of(policies, tag) {
            let id = (!reservation.is_empty()).then(|| reservation.to_owned());
            admission.remote.push(RemoteReservation {
                descriptors: Rc::new(DescriptorSet {
                    domain,
                    limits,
                    descriptors,
                }),
                reservation: id.map(ReservationId),
                lease: None,
                counter: (rate, key),
                added,
                charged_until: None,
            });
        }
        Some(())
    }
}

/// Returns the rate whose counters have this identity.
fn index_of(policies: &Policies, tag: u64) -> Option<RateIndex> {
    let mut rates = policies.rates().iter();
    let position = rates.position(|rate| rate.counters.tag() == tag);
    position.map(RateIndex::new)
}
