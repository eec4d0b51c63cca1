//! Forms: their boundary, and where they end.

use super::{form, read};

#[test]
fn form_needs_a_valid_boundary() {
    for (length, is_form) in [(0, false), (1, true), (70, true), (71, false)] {
        let boundary = "b".repeat(length);
        let body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--{boundary}--\r\n"
        );
        for kind in [
            format!("multipart/form-data; boundary={boundary}"),
            format!("Multipart/Form-Data; charset=utf-8; Boundary=\"{boundary}\""),
        ] {
            let reader = read(body.as_bytes(), &[], Some(kind.as_bytes()));
            assert_eq!(reader.syntax().is_none(), is_form, "{length}");
            let model = reader.parameters().model.as_deref();
            assert_eq!(model, is_form.then_some("m"), "{length}");
        }
    }
    let other = b"multipart/mixed; boundary=b".as_slice();
    assert!(read(b"", &[], Some(other)).syntax().is_some());
}

#[test]
fn form_ends_with_its_last_delimiter() {
    let body = form("")
        + &form("")
            .replace("whisper-1", "other")
            .replace("12345", "123");
    let kind = b"multipart/form-data; boundary=bb".as_slice();
    let every_byte: Vec<usize> = (0..body.len()).collect();
    for cuts in [&[][..], &every_byte] {
        let reader = read(body.as_bytes(), cuts, Some(kind));
        let found = reader.parameters();
        assert_eq!(found.model.as_deref(), Some("whisper-1"));
        assert_eq!((found.text_bytes, found.parts), (5, 1));
    }
}
