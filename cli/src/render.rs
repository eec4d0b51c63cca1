//! `tollgate render`: prints what an installation takes, for one policy.
//!
//! The flags and the configuration become a [`Plan`](plan::Plan), which is checked before anything is written. Each form turns it into
//! documents: [`envoy`], [`istio`], [`envoy_gateway`]. What they have in common is in [`filters`], [`clusters`] and [`kubernetes`]; comments are
//! part of the documents ([`yaml`]). The text is read again before it is returned, as `tollgate check` reads it.

mod clusters;
mod envoy;
mod envoy_gateway;
mod filters;
mod istio;
mod kubernetes;
mod misuse;
pub mod options;
mod plan;
mod policy;
mod yaml;

use filter_config::{ValidationErrors, Warning, WarningCode};

pub use self::misuse::Misuse;
use self::options::{Form, Options};
use self::plan::Plan;

/// What is printed.
#[derive(Debug)]
pub struct Rendered {
    /// The documents, in YAML.
    pub text: String,
    /// The warnings on the configuration, with their paths in the file that it was read from.
    pub warnings: Vec<Warning>,
    /// The further warnings on the documents, with their paths there.
    pub of_output: Vec<Warning>,
}

/// Why nothing is printed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is invalid.
    #[error(transparent)]
    Configuration(ValidationErrors),
    /// The flags do not fit together, the form or the configuration.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// What would be printed is invalid.
    #[error("the rendered configuration is invalid: {0}")]
    Output(ValidationErrors),
}

/// Renders a configuration in YAML or JSON.
///
/// # Errors
///
/// [`Error`].
pub fn render(options: &Options, configuration: &[u8]) -> Result<Rendered, Error> {
    let mut source = filter_config::parse_source(configuration).map_err(Error::Configuration)?;
    let warnings = std::mem::take(&mut source.configuration.warnings);
    let plan = Plan::new(options, source)?;
    let documents = match plan.form {
        Form::Envoy => envoy::documents(&plan),
        Form::EnvoyGateway => envoy_gateway::documents(&plan),
        Form::IstioWasmplugin | Form::IstioTrafficextension | Form::IstioEnvoyfilter => {
            istio::documents(&plan)
        }
    };
    let text = yaml::stream(&documents);
    let found = filter_config::parse_file(text.as_bytes()).map_err(Error::Output)?;
    let of_output = found
        .into_iter()
        .flat_map(|found| found.configuration.warnings);
    let is_known = |warning: &Warning| {
        // `same-limit` names the other limit by its path, which differs in the output.
        let same = |known: &Warning| {
            known.code() == warning.code()
                && (known.what() == warning.what() || known.code() == WarningCode::SameLimit)
        };
        warnings.iter().any(same)
    };
    let of_output = of_output.filter(|warning| !is_known(warning)).collect();
    Ok(Rendered {
        text,
        warnings,
        of_output,
    })
}
