//! Plays Kuadrant's tutorial on token-based rate limiting and shows what it costs whom.

use envoy_test::{
    binary,
    client::Protocol,
    tutorial::{
        Error, Gateway, Outcome, Step, policy, policy_with_window, steps, steps_through_a_window,
    },
};

use crate::limitador;

pub(crate) const WORKERS: u32 = 2;

/// What ends the demonstration early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Tutorial(#[from] Error),
    #[error(transparent)]
    Limitador(#[from] limitador::Error),
    #[error("STORAGE is local or limitador, not {0}")]
    NoSuchStorage(String),
}

/// Plays everything, and returns how many outcomes were not the tutorial's.
pub(crate) async fn run(once: bool) -> Result<usize, Failure> {
    let envoy = binary::find()
        .map_err(envoy_test::envoy::Error::from)
        .map_err(Error::from)?;
    let setting = |name: &str| std::env::var(name).unwrap_or_default();
    let stays = !once;
    let version = &envoy.version;
    match setting("STORAGE").as_str() {
        "" | "local" => {
            println!(
                "Envoy {version} with tollgate and the policy of examples/kuadrant/policy.yaml"
            );
            let faults = play().await?;
            if stays {
                let untouched = Gateway::start(policy(), WORKERS, Protocol::Http1).await?;
                println!("\nTo try, with nothing spent yet (Ctrl-C ends it):\n");
                invite(&untouched);
                tokio::signal::ctrl_c().await.map_err(Error::from)?;
            }
            Ok(faults)
        }
        "limitador" => {
            println!(
                "Two Envoys {version} with tollgate and the policy of examples/kuadrant/policy.yaml, \
                 their counters in a limitador on Redis"
            );
            let faults = limitador::play().await?;
            if stays {
                let untouched = limitador::Shared::start(Protocol::Http1).await?;
                println!("\nTo try, with nothing spent yet (Ctrl-C ends it), at either Envoy:\n");
                untouched.gateways.iter().for_each(invite);
                untouched.invite();
                tokio::signal::ctrl_c().await.map_err(Error::from)?;
            }
            Ok(faults)
        }
        other => Err(Failure::NoSuchStorage(other.to_owned())),
    }
}

/// Plays the tutorial with one Envoy that counts by itself.
async fn play() -> Result<usize, Error> {
    let mut faults = show(
        "The tutorial: 50 tokens a minute for free, 200 for gold",
        &Gateway::start(policy(), WORKERS, Protocol::Http1).await?,
        steps(false),
    )
    .await?;
    faults += show(
        "The same, streamed, over HTTP/2",
        &Gateway::start(policy(), WORKERS, Protocol::Http2).await?,
        steps(true),
    )
    .await?;
    faults += show(
        "With a window of two seconds",
        &Gateway::start(policy_with_window("2s"), WORKERS, Protocol::Http1).await?,
        steps_through_a_window(),
    )
    .await?;
    Ok(faults)
}

/// Prints what stands above a play.
pub(crate) fn print_heading(title: &str) {
    println!("\n{title}\n");
    println!(
        "  {:13}  {:61}  {:>6}  {:>5}  {:>5}  note",
        "caller", "request", "status", "cost", "left"
    );
}

/// Plays steps, showing each as it happens, and returns how many went wrong.
async fn show(title: &str, gateway: &Gateway, steps: Vec<Step>) -> Result<usize, Error> {
    print_heading(title);
    let mut faults = 0;
    for step in steps {
        let outcome = gateway.play(&step).await?;
        faults += usize::from(!outcome.faults.is_empty());
        println!("{}", line(&step, &outcome));
    }
    Ok(faults)
}

pub(crate) fn line(step: &Step, outcome: &Outcome) -> String {
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let mut notes = vec![step.why.to_owned()];
    if let Some(retry_after) = outcome.retry_after {
        notes.push(format!("retry after {} s", retry_after.as_secs()));
    }
    notes.extend(outcome.faults.iter().map(|fault| format!("WRONG: {fault}")));
    format!(
        "  {:13}  {:61}  {:>6}  {:>5}  {:>5}  {}",
        step.caller,
        step.ask,
        outcome.status,
        number((outcome.cost > 0).then_some(outcome.cost)),
        number(outcome.left),
        notes.join(", "),
    )
}

/// Says how to try it by hand.
fn invite(gateway: &Gateway) {
    let chat = |key: &str, stream: bool| {
        let options = if stream {
            r#", "stream": true, "stream_options": {"include_usage": true}"#
        } else {
            ""
        };
        println!(
            "  curl -i {} -H 'Authorization: APIKEY {key}' -H 'Content-Type: application/json' \\\n    \
             -d '{{\"model\": \"{}\", \"messages\": [{{\"role\": \"user\", \"content\": \"What is Kubernetes?\"}}], \
             \"max_tokens\": 100{options}}}'\n",
            gateway.envoy().url("/v1/chat/completions"),
            envoy_test::llm::MODEL,
        );
    };
    chat("iamafreeuser", false);
    chat("iamagolduser", true);
    println!(
        "  curl -s http://{}/stats | grep wasmcustom\n",
        gateway.envoy().admin_address()
    );
}
