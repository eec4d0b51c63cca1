//! Sketches as bytes.
//!
//! Integers are little-endian: "tt", the version, 0; the number of the current window; then both sketches, each with its
//! floor, the number of its counters, and of each the key, what it has used, its error, and its text after its length.

use super::{Sketch, TopCounter, TopCounters};

/// The version of the format.
pub(super) const VERSION: u8 = 1;

const HEADER: [u8; 4] = [b't', b't', VERSION, 0];

// === impl TopCounters ===

impl TopCounters {
    /// Reads a sketch, which then has room for so many counters; `None` if the bytes are none.
    pub(super) fn decode(bytes: &[u8], capacity: usize) -> Option<Self> {
        let rest = bytes.strip_prefix(&HEADER)?;
        let (window, rest) = rest.split_first_chunk()?;
        let (current, rest) = Sketch::decode(rest)?;
        let (previous, _) = Sketch::decode(rest)?;
        Some(Self {
            capacity,
            window: u64::from_le_bytes(*window),
            current,
            previous,
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        bytes.extend(self.window.to_le_bytes());
        self.current.encode(&mut bytes);
        self.previous.encode(&mut bytes);
        bytes
    }
}

// === impl Sketch ===

impl Sketch {
    fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (floor, bytes) = bytes.split_first_chunk()?;
        let (number, mut rest) = bytes.split_first_chunk()?;
        let mut counters = Vec::new();
        for _ in 0..u32::from_le_bytes(*number) {
            let (key, bytes) = rest.split_first_chunk()?;
            let (used, bytes) = bytes.split_first_chunk()?;
            let (error, bytes) = bytes.split_first_chunk()?;
            let (length, bytes) = bytes.split_first_chunk()?;
            let length = usize::from(u16::from_le_bytes(*length));
            let (text, after) = bytes.split_at_checked(length)?;
            counters.push(TopCounter {
                key: u128::from_le_bytes(*key),
                used: u64::from_le_bytes(*used),
                error: u64::from_le_bytes(*error),
                text: str::from_utf8(text).ok()?.into(),
            });
            rest = after;
        }
        let floor = u64::from_le_bytes(*floor);
        Some((Self { counters, floor }, rest))
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        let number = u32::try_from(self.counters.len()).unwrap_or_default();
        bytes.extend(self.floor.to_le_bytes());
        bytes.extend(number.to_le_bytes());
        for counter in &self.counters {
            // A text that is too long is not known.
            let length = u16::try_from(counter.text.len()).unwrap_or_default();
            let text = counter.text.as_bytes().get(..length.into());
            bytes.extend(counter.key.to_le_bytes());
            bytes.extend(counter.used.to_le_bytes());
            bytes.extend(counter.error.to_le_bytes());
            bytes.extend(length.to_le_bytes());
            bytes.extend(text.unwrap_or_default());
        }
    }
}
