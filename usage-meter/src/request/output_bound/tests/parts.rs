//! Images and other parts of messages: how many there are, and which bytes are theirs.

use super::{CHAT, CONVERSE, GEMINI, MESSAGES, OLLAMA, RESPONSES, bound_of};

#[test]
fn parts_are_counted_also_by_reference() {
    for (path, body, parts) in [
        (
            CHAT,
            r#"{"messages":[{"role":"user","content":"data:image/png;base64,AAAA"}]}"#,
            Some(0),
        ),
        (
            CHAT,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://a"}}]},{"role":"assistant","audio":{"id":"audio_1"},"content":null}]}"#,
            Some(2),
        ),
        (
            RESPONSES,
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_file","file_id":"file-1"}]}]}"#,
            Some(1),
        ),
        (
            MESSAGES,
            r#"{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://a"}},{"type":"tool_result","content":[{"type":"document","source":{"type":"file","file_id":"f"}},{"type":"text","text":"a"}]}]}]}"#,
            Some(2),
        ),
        (
            MESSAGES,
            r#"{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"text","data":"abc"}}]}]}"#,
            None,
        ),
        (
            MESSAGES,
            r#"{"messages":[{"role":"user","content":[{"type":"text","type":"image","text":"a"}]}]}"#,
            Some(1),
        ),
        (
            GEMINI,
            r#"{"contents":[{"parts":[{"text":"a"},{"fileData":{"fileUri":"gs://a"}},{"inlineData":{}}]}]}"#,
            Some(2),
        ),
        (
            GEMINI,
            r#"{"contents":[{"parts":[{"inl\u0069neData":{}}]}]}"#,
            None,
        ),
        // Google's APIs take an object for a list of one.
        (
            GEMINI,
            r#"{"contents":{"role":"user","parts":{"file_data":{"file_uri":"gs://a"}}},"systemInstruction":{"parts":{"text":"a"}}}"#,
            Some(1),
        ),
        (
            OLLAMA,
            r#"{"messages":[{"role":"user","content":"a","images":["iVBORw0KGgo=","iVBORw0KGgo="]}]}"#,
            Some(2),
        ),
        ("/api/generate", r#"{"images":["iVBORw0KGgo="]}"#, Some(1)),
        (
            CONVERSE,
            r#"{"messages":[{"role":"user","content":[{"text":"a"},{"document":{"source":{"s3Location":{"uri":"s3://a"}}}},{"toolResult":{"content":[{"json":{}},{"image":{}}]}}]}]}"#,
            Some(2),
        ),
    ] {
        assert_eq!(
            bound_of(path, body).map(|bound| bound.parts()),
            parts,
            "{body}"
        );
    }
}

#[test]
fn only_media_bytes_are_no_text() {
    for (path, body, bytes) in [
        (
            CHAT,
            r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"a"},"text":"abc"}]}]}"#,
            r#"{"url":"a"}"#.len(),
        ),
        (
            CHAT,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a","file":"data:b"}]}],"message":"data:c"}"#,
            0,
        ),
        (
            GEMINI,
            r#"{"contents":[{"parts":[{"functionResponse":{"response":{"file":"data:a"}}}]}]}"#,
            0,
        ),
        (
            OLLAMA,
            r#"{"messages":[{"images":["ab"]}]}"#,
            r#"["ab"]"#.len(),
        ),
    ] {
        let found = bound_of(path, body).unwrap().part_bytes();
        assert_eq!(found, bytes as u64, "{body}");
    }
    let text = r#"{"messages":[{"role":"user","content":[{"document":{"name":"a","source":{"text":"b"}}}]}]}"#;
    assert!(bound_of(CONVERSE, text).is_none());
}

#[test]
fn keys_of_messages_in_other_letters_are_uncertain() {
    // Servers in Go ignore case, so that each of these has an image.
    for (path, body) in [
        (
            OLLAMA,
            r#"{"messages":[{"role":"user","Images":["iVBORw0KGgo="]}]}"#,
        ),
        ("/api/generate", r#"{"Images":["iVBORw0KGgo="]}"#),
        (
            CHAT,
            r#"{"messages":[{"role":"user","Content":[{"type":"image_url"}]}]}"#,
        ),
        (
            CHAT,
            r#"{"messages":[{"role":"user","\u0043ontent":[{"type":"image_url"}]}]}"#,
        ),
        (
            CHAT,
            r#"{"messages":[{"role":"user","partſ":[{"type":"image_url"}]}]}"#,
        ),
        (
            MESSAGES,
            r#"{"messages":[{"role":"user","content":[{"type":"tool_result","Content":[{"type":"image"}]}]}]}"#,
        ),
        (CONVERSE, r#"{"toolConfig":{"Tools":[{"systemTool":{}}]}}"#),
    ] {
        assert!(bound_of(path, body).is_none(), "{body}");
    }
}
