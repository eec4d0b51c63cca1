use super::*;

#[test]
fn clients_are_known_by_their_user_agents() {
    for (user_agent, expected) in [
        ("mistral-client-python/3.7.0", true),
        ("mistral-client-typescript/2.0.1", true),
        (
            "ai/6.0.326 ai-sdk/mistral/3.0.69 runtime/node.js/v20.20.2",
            true,
        ),
        ("ai/6.0.326 ai-sdk/openai/3.0.141", false),
        ("OpenAI/Python 3.57.0", false),
        ("not-mistral-client", false),
        ("", false),
    ] {
        assert_eq!(is_client(user_agent.as_bytes()), expected, "{user_agent}");
    }
}

#[test]
fn models_are_known_by_their_families() {
    for name in [
        "mistral-small-latest",
        "Ministral-8B",
        "codestral-2508",
        "labs-devstral-small-2512",
        "open-mixtral-8x22b",
        "pixtral-12b",
        "mistralai/Voxtral-Mini",
    ] {
        assert!(is_model(name), "{name}");
    }
    for name in ["gpt-5", "o4-mini", "deepseek-reasoner", ""] {
        assert!(!is_model(name), "{name}");
    }
}
