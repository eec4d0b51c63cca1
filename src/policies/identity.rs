//! The identity of callers: which counter expressions have it, and what of an address has.

use filter_config::{Attribute, Configuration, Expression};
use std::net::{IpAddr, SocketAddr};

/// The most counter expressions that identify a caller: as many as one limit can have.
const MAX_IDENTITIES: usize = 16;

/// The bytes of an IPv6 address that name its network. A client can choose the others.
const IPV6_NETWORK_BYTES: usize = 8;

/// A caller, as far as requests compete for places: the hash of its identity, or of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallerId(u128);

/// Where a counter expression is in the configuration: the indexes of its policy, its limit, and itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CounterPosition(pub(super) usize, pub(super) usize, pub(super) usize);

/// Returns the counter expressions that identify callers: those that read only what another filter or Envoy has
/// established, so that a caller cannot have many values of them.
pub(super) fn identities(configuration: &Configuration) -> Vec<CounterPosition> {
    let mut found: Vec<(&str, CounterPosition)> = Vec::new();
    for (policy_index, policy) in configuration.policies.iter().enumerate() {
        for (limit_index, limit) in policy.limits.iter().enumerate() {
            for (index, counter) in limit.counters.iter().enumerate() {
                let source = counter.source();
                if found.len() < MAX_IDENTITIES
                    && identifies_caller(counter)
                    && found.iter().all(|(known, _)| *known != source)
                {
                    let position = CounterPosition(policy_index, limit_index, index);
                    found.push((source, position));
                }
            }
        }
    }
    found.into_iter().map(|(_, position)| position).collect()
}

/// Returns whether the value of a counter expression is the same for all requests of a caller.
fn identifies_caller(counter: &Expression) -> bool {
    let uses = counter.uses();
    !uses.is_empty()
        && !counter.is_client_controlled()
        && uses.iter().all(|used| match used {
            Attribute::Auth(_) | Attribute::FilterState(_) => true,
            Attribute::Property(property) => {
                property.name == "metadata" || property.name.contains("peer_certificate")
            }
            _ => false,
        })
}

/// Returns the part of an address with a port that a client cannot choose: an IPv4 address, or the network of an
/// IPv6 address.
pub(super) fn network(address: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(address).unwrap_or_default();
    let Ok(socket) = text.parse::<SocketAddr>() else {
        return address.to_vec();
    };
    match socket.ip().to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => {
            let octets = address.octets().into_iter();
            octets.take(IPV6_NETWORK_BYTES).collect()
        }
    }
}

// === impl CallerId ===

impl CallerId {
    /// The least and the greatest.
    pub(crate) const MIN: Self = Self(0);
    pub(crate) const MAX: Self = Self(u128::MAX);

    /// Returns the caller with a hash.
    pub(crate) const fn new(hash: u128) -> Self {
        Self(hash)
    }

    /// Returns a part of the hash.
    pub(crate) fn short(self) -> u64 {
        u64::try_from(self.0 & u128::from(u64::MAX)).unwrap_or_default()
    }
}
