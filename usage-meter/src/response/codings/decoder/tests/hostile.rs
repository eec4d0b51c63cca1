//! Bodies that take much memory or work for their length.

use std::io::Write as _;

/// Bits, the first as the lowest of a byte.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    pub(super) bytes: Vec<u8>,
    pub(super) bits: u32,
}

impl BitWriter {
    pub(super) fn write(&mut self, value: u64, count: u32) {
        for bit in 0..count {
            if self.bits.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.len() - 1;
            self.bytes[last] |= u8::from(value >> bit & 1 == 1) << (self.bits % 8);
            self.bits += 1;
        }
    }

    /// Writes a simple prefix code of brotli with one symbol.
    fn single(&mut self, symbol: u64, width: u32) {
        self.write(1, 2);
        self.write(0, 2);
        self.write(symbol, width);
    }

    /// Writes the number 256 as brotli has it.
    fn number_256(&mut self) {
        self.write(1 | 7 << 1 | 127 << 4, 11);
    }

    /// Writes a complete code of brotli in which all symbols have a length of 8 bits.
    fn all_eight(&mut self) {
        self.write(0, 2);
        for place in [1, 2, 3, 4, 0, 5, 17, 6, 16, 7, 8, 9, 10, 11, 12, 13, 14, 15] {
            match place {
                8 => self.write(7, 4),
                _ => self.write(0, 2),
            }
        }
    }

    /// Writes the first bits of a compressed meta-block of brotli that is not the last.
    fn begin_meta_block(&mut self, length: u64) {
        self.write(0, 1);
        self.write(2, 2);
        self.write(length - 1, 24);
        self.write(0, 1);
    }

    /// Writes the head of such a meta-block up to its prefix codes: one code of each kind.
    fn begin_plain_meta_block(&mut self, length: u64) {
        self.begin_meta_block(length);
        self.write(0, 3);
        self.write(0, 6);
        self.write(0, 2);
        self.write(0, 2);
    }
}

/// Returns meta-blocks of brotli that decode to a byte each and have 256 codes of each kind, up to a length.
pub(crate) fn brotli_codes(length: usize) -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.write(0, 1);
    while bits.bytes.len() < length {
        bits.write(0, 3);
        bits.write(0, 16);
        bits.write(0, 1);
        codes_256(&mut bits);
        for _ in 0..256 {
            bits.single(97, 8);
        }
        for _ in 0..256 {
            bits.single(8, 10);
        }
        for _ in 0..256 {
            bits.single(0, 6);
        }
    }
    bits.bytes.truncate(length);
    bits.bytes
}

/// Writes the header of a meta-block up to its codes.
fn codes_256(bits: &mut BitWriter) {
    bits.write(0, 1);
    bits.number_256();
    bits.single(0, 9);
    bits.single(0, 5);
    bits.write(0, 2);
    bits.write(0, 1);
    bits.write(0, 6);
    bits.write(0, 2);
    for _ in 0..2 {
        bits.number_256();
        bits.write(0, 1);
        bits.single(255, 8);
        bits.write(1, 1);
    }
}

/// Returns the header of a meta-block of brotli in a large window, which asks for 256 codes of each kind.
pub(crate) fn brotli_header() -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.write(0xf, 4);
    bits.begin_meta_block(1 << 24);
    codes_256(&mut bits);
    bits.bytes
}

/// Returns a meta-block of brotli with as many literal codes of 256 entries as have room.
pub(crate) fn brotli_large_codes(length: usize) -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.write(0, 1);
    while bits.bytes.len() < length {
        bits.write(0, 3);
        bits.write(0, 16);
        bits.write(0, 1);
        codes_256(&mut bits);
        for _ in 0..256 {
            bits.all_eight();
        }
        for _ in 0..256 {
            bits.single(8, 10);
        }
        for _ in 0..256 {
            bits.single(0, 6);
        }
        bits.write(0, 8);
    }
    bits.bytes.truncate(length);
    bits.bytes
}

/// Returns meta-blocks of brotli with maps of 16384 contexts that are moved to the front.
pub(crate) fn brotli_maps(length: usize) -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.write(0, 1);
    while bits.bytes.len() < length {
        bits.write(0, 3);
        bits.write(0, 16);
        bits.write(0, 1);
        bits.number_256();
        bits.single(0, 9);
        bits.single(0, 5);
        bits.write(0, 2);
        bits.write(0, 2);
        bits.write(0, 6);
        for _ in 0..256 {
            bits.write(0, 2);
        }
        // Two codes, and a map whose entries take no bits.
        bits.write(1, 4);
        bits.write(0, 1);
        bits.single(1, 1);
        bits.write(1, 1);
        bits.write(0, 1);
        for _ in 0..2 {
            bits.single(97, 8);
        }
        bits.single(8, 10);
        bits.single(0, 6);
    }
    bits.bytes.truncate(length);
    bits.bytes
}

/// Returns meta-blocks of brotli of commands that take no bits and copy two bytes each.
pub(crate) fn brotli_commands(length: usize) -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.write(0, 1);
    // Four bytes, uncompressed, to copy from.
    bits.write(0, 3);
    bits.write(15, 16);
    bits.write(1, 1);
    bits.write(0, (8 - bits.bits % 8) % 8);
    for _ in 0..16 {
        bits.write(97, 8);
    }
    while bits.bytes.len() < length {
        bits.begin_plain_meta_block((1 << 20) + 1);
        bits.single(97, 8);
        bits.single(0, 10);
        bits.single(0, 6);
    }
    bits.bytes.truncate(length);
    bits.bytes
}

/// Returns the beginning of brotli with a code of two symbols of literals.
pub(crate) fn brotli_pair(symbols: [u64; 2]) -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.write(0, 1);
    bits.begin_plain_meta_block((1 << 20) + 1);
    bits.write(1, 2);
    bits.write(1, 2);
    for symbol in symbols {
        bits.write(symbol, 8);
    }
    bits.write(0, 64);
    bits.bytes
}

/// Returns a bomb of one byte, as long as it decodes to.
pub(crate) fn brotli_zeros(decoded: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    brotli::CompressorWriter::new(&mut bytes, 4096, 9, 24)
        .write_all(&vec![0; decoded])
        .unwrap();
    bytes
}

/// Returns blocks of DEFLATE that decode to nothing: fixed ones, or dynamic ones.
pub(crate) fn deflate_blocks(length: usize, is_dynamic: bool) -> Vec<u8> {
    let mut bits = BitWriter::default();
    while bits.bytes.len() < length {
        if is_dynamic {
            bits.write(2 << 1, 3);
            // 257 literals and one distance; 18 lengths of codes of lengths, up to the one of 1.
            bits.write(14 << 10, 14);
            for place in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1] {
                bits.write(u64::from(place == 18 || place == 1), 3);
            }
            // 256 zeros: 138 and 118; then twice 1.
            bits.write(1, 1);
            bits.write(127, 7);
            bits.write(1, 1);
            bits.write(107, 7);
            bits.write(0, 2);
            // The end of the block.
            bits.write(0, 1);
        } else {
            bits.write(1 << 1, 3);
            bits.write(0, 7);
        }
    }
    bits.bytes.truncate(length);
    bits.bytes
}

/// Returns a frame of zstd of blocks with a code of 2048 entries for no literal.
pub(crate) fn zstd_codes(length: usize) -> Vec<u8> {
    let mut bytes = b"\x28\xb5\x2f\xfd\x00\x60".to_vec();
    while bytes.len() < length {
        // One weight of 11, so that the last symbol has the other half.
        let literals = [128, 11 << 4, 2];
        let header = 2 | 1 << 4 | 3 << 14;
        let mut block = u32::to_le_bytes(header)[..3].to_vec();
        block.extend_from_slice(&literals);
        block.push(0);
        let header = u32::try_from(block.len()).unwrap() << 3 | 2 << 1;
        bytes.extend_from_slice(&header.to_le_bytes()[..3]);
        bytes.extend_from_slice(&block);
    }
    bytes
}

/// Returns a frame of zstd of blocks with sequences that take no bits and copy three bytes each.
pub(crate) fn zstd_sequences(length: usize, count: u16) -> Vec<u8> {
    let mut bytes = b"\x28\xb5\x2f\xfd\x00\x60".to_vec();
    // Sixteen bytes to copy from.
    bytes.extend_from_slice(&[16 << 3, 0, 0]);
    bytes.extend_from_slice(b"sixteen letters.");
    while bytes.len() < length {
        // No literals, then sequences with a table of one symbol each: no literal, the second of the last
        // distances, three bytes.
        let mut block = vec![0, 255];
        block.extend_from_slice(&(count - 0x7f00).to_le_bytes());
        block.extend_from_slice(&[0b0101_0100, 0, 0, 0, 1]);
        let header = u32::try_from(block.len()).unwrap() << 3 | 2 << 1;
        bytes.extend_from_slice(&header.to_le_bytes()[..3]);
        bytes.extend_from_slice(&block);
    }
    bytes
}
