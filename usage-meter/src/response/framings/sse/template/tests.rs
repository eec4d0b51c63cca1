use super::{Alike, Template};

fn event(text: &str, end: &str) -> String {
    format!(
        "data: {{\"id\":\"1\",\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}{end}{end}"
    )
}

/// Returns a template of an event with this text.
fn template(text: &str) -> Template {
    let mut template = Template::default();
    template.keep(event(text, "\n").as_bytes(), text.len() as u64);
    template
}

#[test]
fn event_with_other_text_is_alike() {
    for end in ["\n", "\r\n"] {
        let mut template = Template::default();
        template.keep(event("some", end).as_bytes(), 4);
        let next = event(" words", end);
        let alike = template.find(format!("{next}{next}").as_bytes());
        let expected = Alike {
            text_bytes: 6,
            bytes: next.len(),
        };
        assert_eq!(alike, Some(expected));
    }
}

#[test]
fn events_that_differ_otherwise_are_not_alike() {
    let next = event("text", "\n");
    for other in [
        next.replace("\"1\"", "\"2\""),
        next.replace("]}", "],\"usage\":{\"total_tokens\":9}}"),
        next.replace("text", ""),
        next.replace("text", "a\\\"b"),
        next.replace("text", "a\nb"),
        next.replace("\n\n", "\n"),
        next[..next.len() - 1].to_owned(),
        String::new(),
    ] {
        assert_eq!(template("some").find(other.as_bytes()), None, "{other:?}");
    }
}

#[test]
fn nothing_is_alike_before_an_event_is_kept() {
    let next = event("text", "\n");
    assert_eq!(Template::default().find(next.as_bytes()), None);
    let mut cleared = template("some");
    cleared.clear();
    assert_eq!(cleared.find(next.as_bytes()), None);
}

#[test]
fn event_without_one_text_is_not_kept() {
    let one = event("some", "\n");
    for (kept, text_bytes) in [
        // The text is elsewhere too.
        (one.clone(), 8),
        (one.replace("\"1\"", "\"1\",\"text\":\"some\""), 4),
        (one.replace("some", "a\\nb"), 3),
        (one.replace("content", "role"), 4),
        (
            one.replace("\"1\"", &format!("\"{}\"", "1".repeat(2_000))),
            4,
        ),
    ] {
        let mut template = Template::default();
        template.keep(kept.as_bytes(), text_bytes);
        assert_eq!(template.find(kept.as_bytes()), None, "{kept}");
    }
}

#[test]
fn unmatched_events_stop_being_kept() {
    let mut template = Template::default();
    for id in 0..100 {
        let event = event("text", "\n").replace("\"1\"", &format!("\"{id}\""));
        assert_eq!(template.find(event.as_bytes()), None);
        template.keep(event.as_bytes(), 4);
        assert_eq!(template.find(b""), None);
    }
    template.keep(event("text", "\n").as_bytes(), 4);
    assert_eq!(template.find(event("text", "\n").as_bytes()), None);
}
