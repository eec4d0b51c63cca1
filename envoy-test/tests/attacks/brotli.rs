//! Streams in brotli (RFC 7932) that an upstream writes to harm its decoder, and harmless ones.

/// Bits, the least significant first.
#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        for position in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from(value >> position & 1 == 1) << (self.used % 8);
            }
            self.used += 1;
        }
    }

    fn pad(&mut self) {
        self.used = self.used.next_multiple_of(8);
    }

    /// The size of the window: 16 or 24 bits.
    fn window(&mut self, bits: u32) {
        match bits {
            24 => self.push(0b1111, 4),
            _ => self.push(0, 1),
        }
    }

    /// The beginning of a part of the stream that is not its last.
    fn part(&mut self, length: u32, is_stored: bool) {
        self.push(0, 1);
        let nibbles = if length > 1 << 16 { 6 } else { 4 };
        self.push(nibbles - 4, 2);
        self.push(length - 1, nibbles * 4);
        self.push(is_stored.into(), 1);
    }

    /// Bytes as they are.
    fn stored(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(1 << 16) {
            self.part(u32::try_from(piece.len()).unwrap_or(1), true);
            self.pad();
            self.bytes.extend(piece);
            self.used += u32::try_from(piece.len() * 8).unwrap_or(0);
        }
    }

    /// A prefix code with one symbol of an alphabet of so many bits.
    fn code_of_one(&mut self, symbol: u32, bits: u32) {
        self.push(1, 2);
        self.push(0, 2);
        self.push(symbol, bits);
    }

    /// The number 256 of blocks or trees.
    fn two_hundred_fifty_six(&mut self) {
        self.push(0x7ff, 11);
    }

    /// A map of contexts to the first of 256 trees.
    fn context_map(&mut self) {
        self.push(0, 1);
        self.code_of_one(0, 8);
        self.push(0, 1);
    }

    /// The beginning of a part with 256 trees in each of its three groups.
    fn trees(&mut self) {
        self.part(1 << 16, false);
        self.push(0, 1);
        // Types of blocks, for the group of trees that has one for each type.
        self.two_hundred_fifty_six();
        self.code_of_one(0, 9);
        self.code_of_one(0, 5);
        self.push(0, 2);
        self.push(0, 1);
        self.push(0, 2 + 4 + 2);
        for _ in 0..2 {
            self.two_hundred_fifty_six();
            self.context_map();
        }
    }

    /// A part that is one byte, repeated up to 16 MiB.
    fn repeated(&mut self) {
        const LENGTH: u32 = 1 << 24;
        self.part(LENGTH, false);
        // One type of blocks in each group, no postfix, one tree in each group.
        self.push(0, 3 + 2 + 4 + 2 + 2);
        self.code_of_one(b'a'.into(), 8);
        // Inserts one literal, and copies the rest.
        self.code_of_one(384 + (1 << 3) + 7, 10);
        self.code_of_one(16, 6);
        self.push(LENGTH - 1 - 2_118, 24);
        self.push(0, 1);
    }

    fn end(mut self) -> Vec<u8> {
        self.push(0b11, 2);
        self.bytes
    }
}

/// These bytes, encoded without compression.
pub(crate) fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.window(16);
    bits.stored(bytes);
    bits.end()
}

/// A stream that begins with these bytes and then asks for as many trees as there can be, encoded `layers` times; each
/// layer does the same.
pub(crate) fn trees(layers: u32) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..layers {
        let mut bits = Bits::default();
        bits.window(16);
        bits.stored(&stream);
        bits.trees();
        stream = bits.bytes;
    }
    stream
}

/// The beginning of a stream with the largest window, and a byte of its text.
pub(crate) fn large_window() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.window(24);
    bits.stored(b"{");
    bits.bytes
}

/// A stream of so many times 16 MiB, of 19 bytes each.
pub(crate) fn bomb(parts: u32) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.window(24);
    for _ in 0..parts {
        bits.repeated();
    }
    bits.end()
}
