//! The input of the fuzz targets: bytes, and how they are split into pieces.

pub mod reference;
pub mod streams;

/// The seed for which every piece is a single byte.
const SINGLE_BYTES: u8 = b' ';

/// The bytes of an input, with a seed for their split.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The seed of the split.
    pub seed: u8,
    /// The bytes.
    pub bytes: &'a [u8],
}

// === impl Input ===

impl<'a> Input<'a> {
    /// Returns the input in `data`, whose first byte is the seed; `None` if there is no byte.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Option<Self> {
        let (&seed, bytes) = data.split_first()?;
        Some(Self { seed, bytes })
    }

    /// Returns the bytes in pieces: single bytes for the seed `b' '`, else pieces of random length.
    pub fn pieces(self) -> impl Iterator<Item = &'a [u8]> {
        let mut random = fastrand::Rng::with_seed(self.seed.into());
        let max_length = match self.seed {
            SINGLE_BYTES => 1,
            seed => 1 + (usize::from(seed) * 7) % 97,
        };
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let length = random.usize(1..=max_length);
            let (piece, others) = rest.split_at(length.min(rest.len()));
            rest = others;
            Some(piece)
        })
    }
}
