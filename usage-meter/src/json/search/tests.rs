use proptest::prelude::*;

use super::{quote_or_backslash, structure};

proptest! {
    #[test]
    fn first_occurrence_is_found(
        bytes in proptest::collection::vec(
            prop_oneof![3 => any::<u8>(), 1 => proptest::sample::select(b"\"\\{}[]:!#;z|".to_vec())],
            0..100,
        ),
        plain in 0_usize..100,
    ) {
        let bytes = [vec![b'0'; plain], bytes].concat();
        let position = |wanted: &[u8]| bytes.iter().position(|byte| wanted.contains(byte));
        prop_assert_eq!(quote_or_backslash(&bytes), position(b"\"\\"));
        prop_assert_eq!(structure(&bytes), position(b"\":{}[]"));
    }
}
