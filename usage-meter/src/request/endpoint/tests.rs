use super::{APIS, Endpoint, METHODS, OPERATIONS, PROVIDERS, SUFFIXES};
use std::collections::BTreeSet;

#[test]
fn known_paths_have_an_endpoint() {
    for (path, provider, api, model) in [
        (
            "/v1/chat/completions?x=1",
            "openai",
            "chat_completions",
            None,
        ),
        ("/openai/v1/responses/", "openai", "responses", None),
        (
            "/openai/deployments/gpt-4o/chat/completions?api-version=1",
            "azure",
            "chat_completions",
            Some("gpt-4o"),
        ),
        ("/v1/messages", "anthropic", "messages", None),
        (
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
            "gemini",
            "generate_content",
            Some("gemini-2.5-pro"),
        ),
        (
            "/v1/projects/p/locations/l/publishers/anthropic/models/claude:rawPredict",
            "vertex",
            "raw_predict",
            Some("claude"),
        ),
        (
            "/model/anthropic.claude-v2%3A1/converse-stream",
            "bedrock",
            "converse",
            Some("anthropic.claude-v2:1"),
        ),
        (
            "/model/a%2e%2Eb%zz%4/converse",
            "bedrock",
            "converse",
            Some("a..b%zz%4"),
        ),
        ("/api/chat", "ollama", "chat", None),
        ("/v2/chat", "cohere", "chat", None),
    ] {
        let found = Endpoint::of_path(path).unwrap();
        assert_eq!(
            (found.provider, found.api, found.model.as_deref()),
            (provider, api, model),
            "{path}"
        );
    }
    for path in [
        "",
        "/",
        "/v1/models",
        "/v1/files",
        "/models/x:unknown",
        "/model/x",
    ] {
        assert_eq!(Endpoint::of_path(path), None, "{path}");
    }
}

/// The spellings of a segment: itself, encoded in part or as a whole, in upper case, and with a parameter.
fn spellings(segment: &str, seed: u64) -> String {
    let encoded = |every: u64| {
        let bytes = (0_u64..).zip(segment.bytes());
        bytes.fold(String::new(), |text, (index, byte)| match index % every {
            0 if index % 2 == 0 => text + &format!("%{byte:02x}"),
            0 => text + &format!("%{byte:02X}"),
            _ => text + &char::from(byte).to_string(),
        })
    };
    match seed % 5 {
        0 => segment.to_owned(),
        1 => encoded(1),
        2 => encoded(3),
        3 => format!("{segment};v=1"),
        _ => segment.to_uppercase(),
    }
}

#[test]
fn spellings_of_a_path_have_one_endpoint() {
    for path in [
        "/v1/chat/completions",
        "/gateway/v1/messages",
        "/openai/v1/responses",
        "/v2/chat",
        "/api/generate",
    ] {
        let plain = Endpoint::of_path(path);
        assert!(plain.is_some(), "{path}");
        for spelled in [
            format!("{path}?"),
            format!("{path}?a=/b/../c#d"),
            format!("{path}/"),
            format!("{path}///"),
            format!("{path}/."),
            format!("{path}/x/.."),
            format!("{path}/x/%2e%2E/"),
            format!("/{path}"),
            format!("{path};a"),
            format!("{path};a/"),
            format!("{path}/;a=b"),
            path.replace('/', "//"),
            path.replace('/', "/./"),
            path.replace('/', "/;x/"),
            path.replace('/', "\\"),
            path.replace('/', "%2f"),
            path.replace('/', "%5C"),
            path.replace('/', "/a/%2e./"),
            path.to_uppercase(),
        ] {
            assert_eq!(Endpoint::of_path(&spelled), plain, "{spelled}");
        }
        for seed in 0..625_u64 {
            let segments = path.split('/').skip(1).zip([1, 5, 25, 125]);
            let segments = segments.map(|(segment, place)| spellings(segment, seed / place));
            let spelled = format!("/{}", segments.collect::<Vec<_>>().join("/"));
            assert_eq!(Endpoint::of_path(&spelled), plain, "{spelled}");
        }
    }
}

#[test]
fn spellings_keep_the_name_of_a_model() {
    for (path, model) in [
        (
            "/model/arn%3Aaws%3Aprofile%2Fa.B/converse",
            "arn:aws:profile/a.B",
        ),
        (
            "//MODEL/arn%3aaws%3aprofile%2fa.B/Converse/",
            "arn:aws:profile/a.B",
        ),
        ("/v1beta/models/Gemini%2D2:generatecontent", "Gemini-2"),
        ("/v1beta//models/./Gemini-2%3AgenerateContent", "Gemini-2"),
        ("/openai/deployments/G%2525/chat//completions", "G%25"),
        ("/openai/Deployments/Gpt/CHAT/completions", "Gpt"),
        ("/openai/deployments/x/../Gpt/chat/completions", "Gpt"),
    ] {
        let endpoint = Endpoint::of_path(path);
        let found = endpoint
            .as_ref()
            .and_then(|endpoint| endpoint.model.as_deref());
        assert_eq!(found, Some(model), "{path}: {endpoint:?}");
    }
}

#[test]
fn similar_paths_have_no_endpoint() {
    for path in [
        "/v1/chat/completions/x",
        "/v1/chatcompletions",
        "/v1/chat/../completion",
        "/v1/models?x=/chat/completions",
        "/v1/models#/chat/completions",
        "/v1/models;/chat-completions",
        "/v1/chat/completions%3Fa",
        "/v1/chat/completion\u{17f}",
        "/v1/chat/completions%",
    ] {
        assert_eq!(Endpoint::of_path(path), None, "{path}");
    }
}

#[test]
fn endpoints_of_vertex_name_their_model() {
    let parent = "/v1/projects/p/locations/europe-west4";
    for (path, api, model, stream) in [
        (
            "endpoints/7:generateContent",
            "generate_content",
            "7",
            false,
        ),
        (
            "endpoints/7:streamGenerateContent?alt=sse",
            "generate_content",
            "7",
            true,
        ),
        ("endpoints/my%2Dmodel:predict", "predict", "my-model", false),
        ("endpoints/7:rawPredict/", "raw_predict", "7", false),
        (
            "publishers/google/models/g:generateContent",
            "generate_content",
            "g",
            false,
        ),
    ] {
        let path = format!("{parent}/{path}");
        let expected = Endpoint {
            provider: "vertex",
            api,
            model: Some(model.into()),
            stream: Some(stream),
            is_anthropic: false,
        };
        assert_eq!(Endpoint::of_path(&path), Some(expected), "{path}");
    }
    for path in [
        "/v1/things/7:predict",
        "/endpoints/7/predict",
        "/endpoints/7:train",
    ] {
        assert_eq!(Endpoint::of_path(path), None, "{path}");
    }
    let gemini = Endpoint::of_path("/v1beta/models/g:generateContent").unwrap();
    assert_eq!(gemini.provider, "gemini");
}

#[test]
fn anthropic_format_is_known_on_every_platform() {
    for (path, expected) in [
        ("/v1/messages", true),
        (
            "/v1/projects/p/locations/l/publishers/anthropic/models/claude:rawPredict",
            true,
        ),
        (
            "/v1/projects/p/locations/l/Publishers/Anthropic/Models/claude:RawPredict",
            true,
        ),
        (
            "/v1/projects/p/locations/l/publishers/anthropic/models/claude:streamRawPredict",
            true,
        ),
        (
            "/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke",
            true,
        ),
        (
            "/model/eu.anthropic.claude-sonnet-4/invoke-with-response-stream",
            true,
        ),
        (
            "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
            false,
        ),
        ("/model/amazon.nova-lite-v1%3A0/invoke", false),
        (
            "/v1/projects/p/locations/l/publishers/mistralai/models/m:rawPredict",
            false,
        ),
        (
            "/v1/projects/p/locations/l/publishers/anthropic/models/claude:predict",
            false,
        ),
        ("/v1/chat/completions", false),
    ] {
        assert_eq!(
            Endpoint::of_path(path).unwrap().is_anthropic,
            expected,
            "{path}"
        );
    }
}

#[test]
fn all_apis_are_listed() {
    let suffixes = SUFFIXES.iter().map(|&(_, _, api)| api);
    let others = METHODS.iter().chain(OPERATIONS).map(|&(_, api, _)| api);
    let known: BTreeSet<&str> = suffixes.chain(others).collect();
    assert_eq!(known, BTreeSet::from(APIS));
    let providers: BTreeSet<&str> = SUFFIXES.iter().map(|&(_, provider, _)| provider).collect();
    let listed = BTreeSet::from(PROVIDERS);
    let by_path = ["azure", "gemini", "vertex", "bedrock"];
    assert_eq!(
        providers
            .union(&BTreeSet::from(by_path))
            .copied()
            .collect::<BTreeSet<_>>(),
        listed
    );
}
