//! Spellings of a path: none of them bypasses a limit on `llm.api`.

use envoy_test::{
    client::hang_up,
    envoy::Builder,
    metered::{Metered, only_when},
};

use crate::support::TestResult;

/// Spellings that some server takes as `/v1/chat/completions`.
const SPELLINGS: &[&str] = &[
    "/v1/chat/completions",
    "/v1/chat/completions?",
    "/v1/chat/completions?a=b",
    "/v1/chat/completions?/v1/models",
    "/v1/chat/completions/",
    "/v1/chat/completions//",
    "//v1/chat/completions",
    "/v1//chat///completions",
    "/v1/chat/completions;a",
    "/v1/chat;a=b/completions",
    "/v1/chat/completions/;a=b",
    "/v1/%63hat/completions",
    "/v1/chat/completion%73",
    "/%76%31/%63%68%61%74/%63ompletions",
    "/v1/chat%2Fcompletions",
    "/v1/chat%2fcompletions/",
    "/v1%2fchat%2fcompletions",
    "/v1%5cchat%5Ccompletions",
    "/v1\\chat\\completions",
    "/v1/chat/./completions",
    "/v1/chat/%2e/completions",
    "/v1/chat/x/../completions",
    "/v1/chat/x/%2e%2E/completions",
    "/v1/chat/x/..;a/completions",
    "/v1/models/../chat/completions",
    "/v1/chat/completions/x/..",
    "/v1/chat/completions/.",
    "/V1/Chat/Completions",
    "/v1/chat/COMPLETIONS",
    "/gateway/v1/chat/completions",
];

/// Where the status is in a response of HTTP/1.1.
const STATUS: std::ops::Range<usize> = 9..12;

/// A gateway in which chat completions have a limit of no tokens.
async fn gateway(normalizes: bool) -> Result<Metered, Box<dyn std::error::Error>> {
    let configuration = only_when("llm.api == 'chat_completions'", 0);
    let normalize = |builder: Builder| {
        builder.edit_listener(|listener| {
            let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
            manager["normalize_path"] = true.into();
            manager["merge_slashes"] = true.into();
            manager["path_with_escaped_slashes_action"] = "UNESCAPE_AND_REDIRECT".into();
        })
    };
    let metered = Metered::build(configuration, |builder| {
        if normalizes {
            normalize(builder)
        } else {
            builder
        }
    });
    Ok(metered.await?)
}

#[tokio::test]
async fn spellings_of_a_path_bypass_no_limit() -> TestResult {
    for normalizes in [false, true] {
        let metered = gateway(normalizes).await?;
        let mut bypasses = Vec::new();
        for path in SPELLINGS {
            let body = r#"{"model":"m","messages":[]}"#;
            let length = body.len();
            let request = format!(
                "POST {path} HTTP/1.1\r\nhost: llm\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\n\r\n{body}"
            );
            let has_status = |received: &[u8]| received.len() > STATUS.end;
            let address = metered.envoy.address();
            let response = hang_up(address, request.as_bytes(), has_status).await?;
            let response = String::from_utf8_lossy(&response);
            let status = response.get(STATUS).unwrap_or_default();
            // A redirection leads to a spelling that Envoy has normalized.
            let is_safe = matches!(status, "429" | "400") || normalizes && status == "307";
            if !is_safe {
                bypasses.push((path, status.to_owned()));
            }
        }
        assert!(
            bypasses.is_empty(),
            "normalized: {normalizes}: {bypasses:?}"
        );
        assert_eq!(metered.llm.requests(), 0);
        metered.check().await?;
    }
    Ok(())
}
