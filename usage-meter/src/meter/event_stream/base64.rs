//! Base64, decoded as it passes.

/// How many bytes are decoded at a time.
const PIECE: usize = 512;

/// A decoder between two pieces of text.
#[derive(Debug)]
pub(super) struct Decoder {
    /// Bits that make no byte yet, and how many.
    bits: u32,
    count: u32,
}

impl Decoder {
    pub(super) const fn new() -> Self {
        Self { bits: 0, count: 0 }
    }

    /// Decodes `text` and passes on the bytes. What is not of the alphabet (padding, the backslash of a
    /// `\/` in JSON) is skipped.
    pub(super) fn push(&mut self, text: &[u8], mut take: impl FnMut(&[u8])) {
        let mut decoded = [0_u8; PIECE];
        for text in text.chunks(PIECE) {
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

/// The six bits that a character of either alphabet stands for.
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
