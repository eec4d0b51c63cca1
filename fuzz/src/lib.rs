//! What the fuzz targets share: how one input stands for bytes and the pieces that they come in.

/// Bytes, and a number that says where they are split.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What says where they are split.
    pub seed: u8,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// The first byte says how the others are split, so that a corpus can be read. `None` of nothing.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Option<Self> {
        let (&seed, bytes) = data.split_first()?;
        Some(Self { seed, bytes })
    }

    /// The bytes in pieces: single bytes for a space, else of lengths that differ with the seed.
    pub fn pieces(self) -> impl Iterator<Item = &'a [u8]> {
        let mut state = u32::from(self.seed).wrapping_mul(0x9e37_79b9) | 1;
        let most = match self.seed {
            b' ' => 1,
            seed => 1 + (usize::from(seed) * 7) % 97,
        };
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            // xorshift32, which is as random as it has to be.
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            let length = 1 + state as usize % most;
            let (piece, others) = rest.split_at(length.min(rest.len()));
            rest = others;
            Some(piece)
        })
    }
}
