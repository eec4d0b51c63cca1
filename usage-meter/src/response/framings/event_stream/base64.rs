//! A streaming Base64 decoder.

/// The number of characters that are decoded at a time.
const PIECE_BYTES: usize = 512;

/// A decoder that keeps the bits between two pieces of text.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The bits that are not a whole byte yet.
    bits: u32,
    /// The number of these bits.
    count: u32,
}

// === impl Decoder ===

impl Decoder {
    pub(super) const fn new() -> Self {
        Self { bits: 0, count: 0 }
    }

    /// Decodes `text` and passes the bytes to `take`. Characters outside the alphabet are skipped:
    /// padding, and the backslash of a `\/` in JSON.
    pub(super) fn push(&mut self, text: &[u8], mut take: impl FnMut(&[u8])) {
        let mut decoded = [0_u8; PIECE_BYTES];
        for text in text.chunks(PIECE_BYTES) {
            // Four characters make three bytes, so there is always room.
            let mut free = decoded.iter_mut();
            let mut length = 0_usize;
            for value in text.iter().filter_map(|byte| value(*byte)) {
                self.bits = (self.bits << 6) | value;
                self.count = self.count.saturating_add(6);
                if self.count >= 8 {
                    self.count = self.count.saturating_sub(8);
                    if let Some(slot) = free.next() {
                        *slot = self.bits.checked_shr(self.count).unwrap_or(0).to_be_bytes()[3];
                        length = length.saturating_add(1);
                    }
                }
            }
            take(decoded.get(..length).unwrap_or_default());
        }
    }
}

/// Returns the six bits of a character in either alphabet of RFC 4648.
fn value(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte.wrapping_sub(b'A'),
        b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
        b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}
