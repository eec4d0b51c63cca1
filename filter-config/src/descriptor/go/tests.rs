//! Tests of the characters that Go takes for letters and digits.

use unicode_general_category::{GeneralCategory, get_general_category};

use super::is_letter_or_digit;

#[test]
fn letters_and_digits_are_those_of_go() {
    let characters = (0..=u32::from(char::MAX)).filter_map(char::from_u32);
    for character in characters {
        let category = get_general_category(character);
        let expected = match category {
            // Characters of a later version of Unicode than the table's.
            GeneralCategory::Unassigned => continue,
            GeneralCategory::UppercaseLetter
            | GeneralCategory::LowercaseLetter
            | GeneralCategory::TitlecaseLetter
            | GeneralCategory::ModifierLetter
            | GeneralCategory::OtherLetter
            | GeneralCategory::DecimalNumber => true,
            _ => false,
        };
        assert_eq!(
            is_letter_or_digit(character),
            expected,
            "{character:?} {category:?}"
        );
    }
}
