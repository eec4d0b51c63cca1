//! Tests of serialized records, read by a library.

use super::{MAX_TEXT_BYTES, RecordStruct};
use proptest::prelude::*;
use prost::Message;
use std::collections::BTreeMap;

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::telemetry) struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(in crate::telemetry) fields: BTreeMap<String, Value>,
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::telemetry) struct Value {
    #[prost(oneof = "Kind", tags = "2, 3, 4, 5, 6")]
    pub(in crate::telemetry) kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(in crate::telemetry) enum Kind {
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Boolean(bool),
    #[prost(message, tag = "5")]
    Struct(Struct),
    #[prost(message, tag = "6")]
    List(List),
}

/// `google.protobuf.ListValue`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::telemetry) struct List {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::telemetry) values: Vec<Value>,
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (0_u32..=u32::MAX).prop_map(|number| Kind::Number(number.into())),
        any::<String>().prop_map(Kind::Text),
        any::<bool>().prop_map(Kind::Boolean),
    ]
}

proptest! {
    #[test]
    fn record_is_read_as_written(fields in proptest::collection::btree_map("[a-z_.]{1,200}", kinds(), 0..12)) {
        let mut record = RecordStruct::new();
        for (name, kind) in &fields {
            match kind {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was an integer")]
                Kind::Number(number) => record.number(name, *number as u64),
                Kind::Text(text) => record.text(name, text),
                Kind::Boolean(value) => record.boolean(name, *value),
                Kind::Struct(_) | Kind::List(_) => unreachable!("`kinds` makes scalars only"),
            }
        }
        let read = Struct::decode(record.as_bytes()).unwrap();
        let read: BTreeMap<String, Kind> = read.fields.into_iter().map(|(name, value)| (name, value.kind.unwrap())).collect();
        prop_assert_eq!(read, fields);
    }
}

#[test]
fn long_text_is_cut() {
    let mut record = RecordStruct::new();
    record.text("model", &"é".repeat(MAX_TEXT_BYTES));
    let read = Struct::decode(record.as_bytes()).unwrap();
    let expected = Kind::Text("é".repeat(MAX_TEXT_BYTES / 2));
    assert_eq!(read.fields["model"].kind, Some(expected));
}

proptest! {
    #[test]
    fn list_of_records_is_read_as_written(items in proptest::collection::vec((any::<String>(), any::<u32>()), 0..40)) {
        let mut record = RecordStruct::new();
        record.list("limits", &items, |(name, used), record| {
            record.text("name", name);
            record.number("used", (*used).into());
        });
        record.boolean("estimated", true);
        let read = Struct::decode(record.as_bytes()).unwrap();
        prop_assert_eq!(&read.fields["estimated"].kind, &Some(Kind::Boolean(true)));
        let Some(Kind::List(list)) = &read.fields["limits"].kind else {
            panic!("a list");
        };
        let read: Vec<(String, u32)> = list.values.iter().map(|item| {
            let Some(Kind::Struct(item)) = &item.kind else { panic!("a record") };
            match (&item.fields["name"].kind, &item.fields["used"].kind) {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was an integer")]
                (Some(Kind::Text(name)), Some(Kind::Number(used))) => (name.clone(), *used as u32),
                _ => panic!("a name and a number"),
            }
        }).collect();
        prop_assert_eq!(read, items);
    }
}
