//! Shell commands to try the tutorial by hand.

use envoy_test::{llm::MODEL, tutorial::Gateway};

/// Prints commands for a gateway.
pub(crate) fn print(gateway: &Gateway) {
    let chat = |key: &str, stream: bool| {
        let options = if stream {
            r#", "stream": true, "stream_options": {"include_usage": true}"#
        } else {
            ""
        };
        println!(
            "  curl -i {} -H 'Authorization: APIKEY {key}' -H 'Content-Type: application/json' \\\n    \
             -d '{{\"model\": \"{MODEL}\", \"messages\": [{{\"role\": \"user\", \"content\": \"What is Kubernetes?\"}}], \
             \"max_tokens\": 100{options}}}'\n",
            gateway.envoy().url("/v1/chat/completions"),
        );
    };
    chat("iamafreeuser", false);
    chat("iamagolduser", true);
    print_stats(gateway.envoy().admin_address());
}

/// Prints the command that shows tollgate's metrics.
pub(crate) fn print_stats(admin: std::net::SocketAddr) {
    println!("  curl -s http://{admin}/stats | grep wasmcustom\n");
}
