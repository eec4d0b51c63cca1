//! Plays an example and shows what comes of each request.

use envoy_test::{
    binary,
    envoy::Error as EnvoyError,
    example::{Error, Example, Outcome, Running, Step, names},
    llm::MODEL,
};

/// Plays the example of that name, and returns how many outcomes were not its document's.
pub async fn run(name: &str, once: bool) -> Result<usize, Error> {
    let known = names()?;
    if !known.iter().any(|known| known == name) {
        return Err(Error::Unknown(name.to_owned(), known.join(", ")));
    }
    let example = Example::read(name)?;
    let envoy = binary::find().map_err(EnvoyError::from)?;
    println!(
        "Envoy {} with the filters and routes of examples/{name}/envoy.yaml",
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
    if !once {
        let untouched = example.start().await?;
        invite(&example, &untouched);
        tokio::signal::ctrl_c().await?;
    }
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
fn invite(example: &Example, running: &Running) {
    println!("\nTo try, with nothing spent yet (Ctrl-C ends it); the model is {MODEL}:\n");
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
