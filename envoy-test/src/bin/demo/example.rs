//! Runs an example and prints the outcome of each request.

use envoy_test::{
    binary,
    envoy::Error as EnvoyError,
    example::{Error, Example, Outcome, Running, StartError, Step, names},
    llm::MODEL,
};

use crate::commands;

/// Runs the example of that name with all its variants, and keeps each running unless `once`. Returns how many outcomes
/// differ from the documented ones.
pub(crate) async fn run(name: &str, once: bool) -> Result<usize, Error> {
    let known = names()?;
    let is_variant = |known: &&String| {
        let rest = known.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let variants: Vec<&String> = known.iter().filter(is_variant).collect();
    if variants.is_empty() {
        return Err(Error::Unknown {
            name: name.to_owned(),
            known: known.join(", "),
        });
    }
    let mut mismatches = 0;
    for variant in &variants {
        mismatches += show(variant, &Example::read(variant)?).await?;
    }
    if !once {
        let mut unused = Vec::new();
        for variant in variants {
            let example = Example::read(variant)?;
            let running = example.start().await?;
            print_commands(variant, &example, &running);
            unused.push(running);
        }
        tokio::signal::ctrl_c().await?;
    }
    Ok(mismatches)
}

/// Runs an example and prints its outcomes. Returns how many differ from the documented ones.
async fn show(name: &str, example: &Example) -> Result<usize, Error> {
    let envoy = binary::find()
        .map_err(EnvoyError::from)
        .map_err(StartError::from)?;
    println!(
        "\nEnvoy {} with the filters and routes of examples/{name}/envoy.yaml",
        envoy.version
    );
    let mut mismatches = 0;
    let mut title = String::new();
    example
        .run(|scenario, step, outcome| {
            if title != scenario.title {
                title.clone_from(&scenario.title);
                println!("\n{title}\n\n  status  tokens  request");
            }
            mismatches += usize::from(!outcome.mismatches.is_empty());
            println!("{}", row(step, outcome));
        })
        .await?;
    Ok(mismatches)
}

fn row(step: &Step, outcome: &Outcome) -> String {
    const INDENTATION: &str = "\n                  ";
    let tokens = match outcome.tokens {
        0 => "-".to_owned(),
        tokens => tokens.to_string(),
    };
    let mut notes = step.why.clone();
    if let Some(cluster) = &outcome.cluster {
        notes.push_str(INDENTATION);
        notes.push_str("cluster ");
        notes.push_str(cluster);
    }
    for header in &outcome.headers {
        notes.push_str(INDENTATION);
        notes.push_str(header);
    }
    for mismatch in &outcome.mismatches {
        notes.push_str(INDENTATION);
        notes.push_str("WRONG: ");
        notes.push_str(mismatch);
    }
    format!("  {:>6}  {tokens:>6}  {notes}", outcome.status)
}

/// Prints a shell command for each different request of the scenarios.
fn print_commands(name: &str, example: &Example, running: &Running) {
    println!("\nTry examples/{name}, with unused limits (Ctrl-C to stop); the model is {MODEL}:\n");
    let mut printed = Vec::new();
    for step in example
        .scenarios
        .iter()
        .flat_map(|scenario| &scenario.steps)
    {
        let mut command = vec![format!("  curl -i {}", running.envoy.url(&step.path))];
        let headers = step.headers.iter();
        command.extend(headers.map(|(name, value)| format!("-H '{name}: {value}'")));
        if let Some(body) = &step.body {
            let body = body.to_string().replace('\'', r"'\''");
            command.push(format!("--json '{body}'"));
        }
        let command = command.join(" ");
        if !printed.contains(&command) {
            println!("{command}\n");
            printed.push(command);
        }
    }
    commands::print_stats(running.envoy.admin_address());
}
