//! Contexts of literals (RFC 7932, section 7.1): classes of the two bytes before a literal, by which its code is
//! chosen.

/// How a context follows from the two bytes before a literal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ContextMode {
    /// The low bits of the last byte.
    #[default]
    Low,
    /// The high bits of the last byte.
    High,
    /// Classes of characters.
    Utf8,
    /// Classes of signed numbers.
    Signed,
}

/// The class of the last byte below 128 in [`ContextMode::Utf8`].
const LAST: [u8; 128] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, //
    8, 12, 16, 12, 12, 20, 12, 16, 24, 28, 12, 12, 32, 12, 36, 12, 44, 44, 44, 44, 44, 44, 44, 44,
    44, 44, 32, 32, 24, 40, 28, 12, 12, 48, 52, 52, 52, 48, 52, 52, 52, 48, 52, 52, 52, 52, 52, 48,
    52, 52, 52, 52, 52, 48, 52, 52, 52, 52, 52, 24, 12, 28, 12, 12, 12, 56, 60, 60, 60, 56, 60, 60,
    60, 56, 60, 60, 60, 60, 60, 56, 60, 60, 60, 60, 60, 56, 60, 60, 60, 60, 60, 24, 12, 28, 12, 0,
];

// === impl ContextMode ===

impl ContextMode {
    /// Returns the mode that is written as a number of two bits.
    pub(super) fn of(number: u32) -> Self {
        match number {
            0 => Self::Low,
            1 => Self::High,
            2 => Self::Utf8,
            _ => Self::Signed,
        }
    }

    /// Returns the context, below 64, of the literal after two bytes.
    #[inline]
    pub(super) fn context(self, last: u8, second: u8) -> u8 {
        match self {
            Self::Low => last & 63,
            Self::High => last >> 2,
            Self::Utf8 => last_class(last) | second_class(second),
            Self::Signed => signed_class(last) << 3 | signed_class(second),
        }
    }
}

#[inline]
fn last_class(byte: u8) -> u8 {
    match LAST.get(usize::from(byte)) {
        Some(class) => *class,
        None if byte >= 192 => 2 | byte & 1,
        None => byte & 1,
    }
}

#[inline]
fn second_class(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => 3,
        b'0'..=b'9' | b'A'..=b'Z' | 224.. => 2,
        33..=126 => 1,
        _ => 0,
    }
}

#[inline]
fn signed_class(byte: u8) -> u8 {
    match byte {
        0 => 0,
        1..=15 => 1,
        16..=63 => 2,
        64..=127 => 3,
        128..=191 => 4,
        192..=239 => 5,
        240..=254 => 6,
        255 => 7,
    }
}
