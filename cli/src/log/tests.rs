//! Logs in both formats, also hostile ones.

use std::io::BufReader;

use proptest::prelude::*;
use serde_json::json;

use super::{Entry, Fields, Log, time};

fn entries(text: &[u8], fields: &[&str]) -> (Vec<Entry>, u64) {
    let fields = Fields::new(fields.iter().copied()).unwrap();
    let mut log = Log::new(BufReader::with_capacity(7, text), fields);
    let mut entries = Vec::new();
    while let Some(entry) = log.read().unwrap() {
        entries.push(entry);
    }
    (entries, log.skipped)
}

#[test]
fn documented_keys_and_records_are_read() {
    let keys = br#"{"time":"2026-01-31T09:30:00.123Z","path":"/v1/chat/completions","status":200,"details":"via_upstream","user":"alice","decision":"admitted","limit":"-","model":"m","input_tokens":"5","output_tokens":"95","total_tokens":"100","cached_tokens":"0","usd":"0.25","estimated":"false"}
{"status":429,"tollgate":{"@type":"x","value":{"decision":"denied","limit":"free","total_tokens":7}}}
"#;
    let (entries, skipped) = entries(keys, &[]);
    assert_eq!((entries.len(), skipped), (2, 0));
    assert_eq!(entries[0].time, Some(1_769_851_800_123_000_000));
    assert_eq!(entries[0].tokens.unwrap().output, 95);
    assert_eq!(entries[0].limit, None);
    assert_eq!(entries[0].usd, Some(0.25));
    assert_eq!(entries[1].decision.as_deref(), Some("denied"));
    assert_eq!(entries[1].limit.as_deref(), Some("free"));
    assert_eq!(entries[1].tokens.unwrap().total, 7);
}

#[test]
fn names_are_mapped() {
    let line = br#"{"ts":1769851800,"who":{"id":"alice"},"dur":"1.5s","X":"gold"}"#;
    let fields = [
        "ts=time",
        "who.id=auth.identity.userid",
        "dur=duration",
        "X=header.X-Tier",
    ];
    let (entries, _) = entries(line, &fields);
    assert_eq!(entries[0].time, Some(1_769_851_800_000_000_000));
    assert_eq!(entries[0].duration, 1_500_000_000);
    assert_eq!(
        entries[0].headers,
        [("x-tier".to_owned(), "gold".to_owned())]
    );
    let auth = json!({ "identity": { "userid": "alice" } });
    assert_eq!(serde_json::Value::Object(entries[0].auth.clone()), auth);
    assert!(Fields::new(["a"]).is_err());
    assert!(Fields::new(["a=b"]).is_err());
}

#[test]
fn csv_values_are_unquoted() {
    let text = b"time,path,auth.user,total_tokens\r\n1700000000,\"/a,\"\"b\"\"\nc\",\"al\xffice\",12\r\n\r\n1700000001,/x,-,\n";
    let (entries, skipped) = entries(text, &[]);
    assert_eq!((entries.len(), skipped), (2, 0));
    assert_eq!(entries[0].path.as_deref(), Some("/a,\"b\"\nc"));
    assert_eq!(entries[0].auth["user"], "al\u{fffd}ice");
    assert_eq!(entries[1].tokens, None);
    assert!(entries[1].auth.is_empty());
}

#[test]
fn hostile_lines_are_skipped_and_counted() {
    let mut text = b"{\"time\":1700000000}\n".to_vec();
    for line in [
        "[".repeat(900_000),
        format!("{{\"a\":{}", "[".repeat(1_000_000)),
        "{\"time\":\"yesterday\"}".to_owned(),
        "{\"total_tokens\":123456789012345678901234567890}".to_owned(),
        "{\"total_tokens\":-1}".to_owned(),
        format!("{{\"path\":\"{}\"}}", "x".repeat(2 << 20)),
        "null".to_owned(),
    ] {
        text.extend(line.as_bytes());
        text.push(b'\n');
    }
    text.extend(b"{\"path\":\"\xff\xfe\"}\n{\"time\":1700000001}");
    let (entries, skipped) = entries(&text, &[]);
    assert_eq!((entries.len(), skipped), (2, 8));
    let unclosed = format!("time\n1700000000\n\"{}", "x\n".repeat(1 << 20));
    let (entries, skipped) = self::entries(unclosed.as_bytes(), &[]);
    assert!(!entries.is_empty() && skipped > 0);
}

#[test]
fn times_have_their_usual_forms() {
    let at = 1_769_851_800_000_000_000;
    for form in [
        json!("2026-01-31T09:30:00Z"),
        json!("2026-01-31T10:30:00+01:00"),
        json!("2026-01-31 09:30:00"),
        json!(1_769_851_800),
        json!("1769851800.0"),
        json!(1_769_851_800_000_u64),
        json!(1_769_851_800_000_000_u64),
        json!(1_769_851_800_000_000_000_u64),
    ] {
        assert_eq!(time::time(&form), Some(at), "{form}");
    }
    assert_eq!(time::text(at), "2026-01-31T09:30:00.000Z");
    assert_eq!(time::time(&json!("1e300")), None);
    assert_eq!(time::time(&json!("2026-99-31T09:30:00Z")), None);
}

proptest! {
    #[test]
    fn times_survive_their_text(millis in 0_u64..18_000_000_000_000) {
        let nanos = millis * 1_000_000;
        let text = time::text(nanos);
        prop_assert_eq!(time::time(&json!(text)), Some(nanos));
    }

    #[test]
    fn any_bytes_are_read_or_skipped(bytes in prop::collection::vec(any::<u8>(), 0..200), is_json: bool) {
        let start: &[u8] = if is_json { b"{}\n" } else { b"time,user,auth.a.b\n" };
        let _ = entries(&[start, &bytes].concat(), &["user=auth.a"]);
    }

    #[test]
    fn quoted_values_are_read_exactly(values in prop::collection::vec("[a-z][a-z\",\n]{0,11}", 1..5)) {
        let names: Vec<String> = (0..values.len()).map(|index| format!("header.{index}")).collect();
        let quoted: Vec<String> = values.iter().map(|value| format!("\"{}\"", value.replace('"', "\"\""))).collect();
        let text = format!("{}\n{}\n", names.join(","), quoted.join(","));
        let (entries, skipped) = entries(text.as_bytes(), &[]);
        prop_assert_eq!(skipped, 0);
        let found: Vec<String> = entries[0].headers.iter().map(|(_, value)| value.clone()).collect();
        prop_assert_eq!(found, values);
    }
}
