//! Plays an example and shows what comes of each request.

use envoy_test::{
    binary,
    envoy::Error as EnvoyError,
    example::{Error, Example, Outcome, Running, Step, names},
    llm::MODEL,
};

/// Plays the example of that name, in each of its ways, and returns how many outcomes were not its document's.
pub async fn run(name: &str, once: bool) -> Result<usize, Error> {
    let known = names()?;
    let is_way = |known: &&String| {
        let rest = known.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let ways: Vec<&String> = known.iter().filter(is_way).collect();
    if ways.is_empty() {
        return Err(Error::Unknown(name.to_owned(), known.join(", ")));
    }
    let mut faults = 0;
    for way in &ways {
        faults += play(way, &Example::read(way)?).await?;
    }
    if !once {
        let mut untouched = Vec::new();
        for way in ways {
            let example = Example::read(way)?;
            let running = example.start().await?;
            invite(way, &example, &running);
            untouched.push(running);
        }
        tokio::signal::ctrl_c().await?;
    }
    Ok(faults)
}

/// Plays an example, and returns how many outcomes were not its document's.
async fn play(name: &str, example: &Example) -> Result<usize, Error> {
    let envoy = binary::find().map_err(EnvoyError::from)?;
    println!(
        "\nEnvoy {} with the filters and routes of examples/{name}/envoy.yaml",
        envoy.version
    );
    let mut faults = 0;
    let mut title = String::new();
    example
        .play(|play, step, outcome| {
            if title != play.title {
                title.clone_from(&play.title);
                println!("\n{title}\n\n  status  tokens  request");
            }
            faults += usize::from(!outcome.faults.is_empty());
            println!("{}", line(step, outcome));
        })
        .await?;
    Ok(faults)
}

fn line(step: &Step, outcome: &Outcome) -> String {
    let tokens = match outcome.tokens {
        0 => "-".to_owned(),
        tokens => tokens.to_string(),
    };
    let mut notes = step.why.clone();
    if let Some(cluster) = &outcome.cluster {
        notes.push_str("\n                  from ");
        notes.push_str(cluster);
    }
    for header in &outcome.headers {
        notes.push_str("\n                  ");
        notes.push_str(header);
    }
    for fault in &outcome.faults {
        notes.push_str("\n                  WRONG: ");
        notes.push_str(fault);
    }
    format!("  {:>6}  {tokens:>6}  {notes}", outcome.status)
}

/// Says how to try it by hand: every request of the plays, once.
fn invite(name: &str, example: &Example, running: &Running) {
    println!(
        "\nTo try examples/{name}, with nothing spent yet (Ctrl-C ends it); the model is {MODEL}:\n"
    );
    let mut shown = Vec::new();
    for step in example.plays.iter().flat_map(|play| &play.steps) {
        let mut command = vec![format!("  curl -i {}", running.envoy.url(&step.path))];
        let headers = step.headers.iter();
        command.extend(headers.map(|(name, value)| format!("-H '{name}: {value}'")));
        if let Some(body) = &step.body {
            let body = body.to_string().replace('\'', r"'\''");
            command.push(format!("--json '{body}'"));
        }
        let command = command.join(" ");
        if !shown.contains(&command) {
            println!("{command}\n");
            shown.push(command);
        }
    }
    println!(
        "  curl -s http://{}/stats | grep wasmcustom\n",
        running.envoy.admin_address()
    );
}
