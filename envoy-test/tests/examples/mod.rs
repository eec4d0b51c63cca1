//! Plays an example and checks what comes of it.

use std::error::Error;

use envoy_test::example::Example;

pub type Outcome = Result<(), Box<dyn Error>>;

/// Plays the example of that name, whose configuration has to be the same in both places.
pub async fn play(name: &str) -> Outcome {
    let example = Example::read(name)?;
    assert_eq!(
        example.configuration_in_envoy(),
        Some(&example.configuration),
        "envoy.yaml and tollgate.yaml"
    );
    let mut wrong = Vec::new();
    example
        .play(|play, step, outcome| {
            if !outcome.faults.is_empty() {
                wrong.push(format!("{}: {}: {outcome:?}", play.title, step.why));
            }
        })
        .await?;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
