//! What is rendered: the flags and the configuration, checked against each other and completed.

mod identity;
#[cfg(test)]
mod tests;

use filter_config::{AccessLog, Configuration, Json, Limit, Source, Storage};

pub(super) use self::identity::{ExtAuthz, Identity, Jwt};
use super::clusters;
use super::misuse::Misuse;
use super::options::{Address, Form, Label, Module, Name, Options, Upstream};

/// What is rendered.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) form: Form,
    /// The configuration, in the long form.
    pub(super) document: Json,
    pub(super) module: Module,
    pub(super) sha256: Option<String>,
    pub(super) pull_secret: Option<String>,
    pub(super) identity: Identity,
    /// Headers of `auth` that a filter behind Envoy's entry sets, and that clients therefore must not send.
    pub(super) stripped: Vec<String>,
    pub(super) service: Option<Service>,
    pub(super) listen: Address,
    pub(super) admin: Address,
    /// The server that Envoy sends requests to. Only Envoy's form has it.
    pub(super) upstream: Option<Upstream>,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) target: Target,
    pub(super) listener: String,
    pub(super) holds_headers: bool,
    /// The bytes of a body that tollgate holds.
    pub(super) max_bytes: usize,
    /// Whether Envoy's rate limit filter adds a cost.
    pub(super) has_hits_addend: bool,
    /// What access logs can read of an exchange.
    pub(super) access_log: AccessLog,
    /// The names of exported costs.
    pub(super) exports: Vec<String>,
    /// Whether a fallback sets headers, by which a route is chosen.
    pub(super) chooses_routes: bool,
}

/// The rate limit service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) cluster: String,
    /// Where it listens; none if the cluster is defined elsewhere.
    pub(super) address: Option<Address>,
}

/// What the resources are attached to.
#[derive(Debug)]
pub(super) enum Target {
    Gateway(String),
    Labels(Vec<Label>),
    /// Nothing, as Envoy's own configuration.
    None,
}

// === impl Plan ===

impl Plan {
    /// Returns the plan.
    pub(super) fn new(options: &Options, source: Source) -> Result<Self, Misuse> {
        flags(options)?;
        let (module, sha256, pull_secret) = module(options)?;
        let configuration = &source.configuration;
        if configuration.hold_headers {
            can_hold_headers(options.to, &module)?;
        }
        let (identity, auth) = identity::resolve(options, &source)?;
        let service = service(options, configuration)?;
        let upstream = match (options.to, &options.upstream) {
            (Form::Envoy, None) => {
                return Err(Misuse::new(
                    "--upstream is required: the server or provider that requests are sent to, such as \
                     \"http://vllm:8000\" or \"https://api.openai.com\"",
                ));
            }
            (_, upstream) => upstream.clone(),
        };
        let (target, namespace) = match options.to {
            Form::Envoy => (Target::None, String::new()),
            _ => (
                target(options, configuration)?,
                namespace(options, configuration)?,
            ),
        };
        let stripped = match &identity {
            Identity::Jwt(_) | Identity::ExtAuthz(_) => identity::headers(configuration),
            Identity::Headers { .. } | Identity::None => Vec::new(),
        };
        let exports = configuration.exports.iter();
        Ok(Self {
            form: options.to,
            module,
            sha256,
            pull_secret,
            identity,
            stripped,
            listen: options.listen.clone(),
            admin: options.admin.clone(),
            upstream,
            name: options.name.to_string(),
            namespace,
            target,
            listener: options.listener.to_string(),
            holds_headers: configuration.hold_headers,
            max_bytes: configuration.request_body.max_bytes,
            has_hits_addend: configuration.hits_addend.is_some(),
            access_log: configuration.access_log,
            exports: exports.map(|export| export.name.clone()).collect(),
            chooses_routes: chooses_routes(configuration),
            document: document(source.document, service.as_ref(), auth),
            service,
        })
    }
}

/// Checks that no flag is given that has no effect.
fn flags(options: &Options) -> Result<(), Misuse> {
    let is_envoy = options.to == Form::Envoy;
    let is_istio = matches!(
        options.to,
        Form::IstioWasmplugin | Form::IstioTrafficextension | Form::IstioEnvoyfilter
    );
    let given = [
        ("--upstream", options.upstream.is_some(), is_envoy),
        ("--namespace", options.namespace.is_some(), !is_envoy),
        ("--gateway", options.gateway.is_some(), !is_envoy),
        ("--selector", !options.selector.is_empty(), is_istio),
        ("--pull-secret", options.pull_secret.is_some(), !is_envoy),
        (
            "--authz-provider",
            options.authz_provider.is_some(),
            is_istio,
        ),
        (
            "--authz-service",
            options.authz_service.is_some(),
            !is_istio,
        ),
    ];
    for (flag, is_given, has_effect) in given {
        if is_given && !has_effect {
            return Err(Misuse::new(format!(
                "{flag} has no effect with --to {}",
                options.to
            )));
        }
    }
    Ok(())
}

/// Returns the module, its digest and the secret of its registry, as far as the form takes them.
fn module(options: &Options) -> Result<(Module, Option<String>, Option<String>), Misuse> {
    let form = options.to;
    let module = match (&options.module, form) {
        (Some(module @ Module::Path(_)), _) => module.clone(),
        (None, Form::Envoy) => Module::Path("/etc/envoy/tollgate.wasm".to_owned()),
        (Some(_), Form::Envoy) => {
            return Err(Misuse::new(
                "--module: Envoy's own configuration takes the path of a file",
            ));
        }
        (Some(module), _) => module.clone(),
        (None, _) => {
            return Err(Misuse::new(
                "--module is required: an image such as \"oci://registry.example.com/tollgate:0.1.0\", the URL of a \
                 file, or the path of one in the gateway's container",
            ));
        }
    };
    let is_image = matches!(module, Module::Image(_));
    if options.sha256.is_some() && matches!(module, Module::Path(_)) {
        return Err(Misuse::new(
            "--sha256: a file in the container is loaded without being compared with a digest",
        ));
    }
    if options.pull_secret.is_some() && (!is_image || form == Form::IstioEnvoyfilter) {
        return Err(Misuse::new(
            "--pull-secret is for an image in a WasmPlugin, a TrafficExtension or an EnvoyExtensionPolicy",
        ));
    }
    let sha256 = options.sha256.as_ref().map(|sha256| sha256.0.clone());
    Ok((
        module,
        sha256,
        options.pull_secret.as_ref().map(Name::to_string),
    ))
}

/// Checks that the form can make Envoy hold headers.
fn can_hold_headers(form: Form, module: &Module) -> Result<(), Misuse> {
    let (resource, instead) = match form {
        Form::IstioWasmplugin => ("a WasmPlugin", "use --to istio-envoyfilter"),
        Form::IstioTrafficextension => ("a TrafficExtension", "use --to istio-envoyfilter"),
        Form::EnvoyGateway if !matches!(module, Module::Path(_)) => (
            "an EnvoyExtensionPolicy",
            "give --module a path, for an EnvoyPatchPolicy",
        ),
        _ => return Ok(()),
    };
    Err(Misuse::new(format!(
        "--to {form}: `holdHeaders` needs Envoy's `allow_on_headers_stop_iteration`, which {resource} cannot set; \
         {instead}, or remove `holdHeaders`"
    )))
}

fn service(options: &Options, configuration: &Configuration) -> Result<Option<Service>, Misuse> {
    let Storage::Remote(remote) = &configuration.storage else {
        let flags = [
            ("--rate-limit-service", options.rate_limit_service.is_some()),
            ("--rate-limit-cluster", options.rate_limit_cluster.is_some()),
        ];
        return match flags.iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => Err(Misuse::new(format!(
                "{flag} has no effect: the configuration has no `storage` with a rate limit service"
            ))),
            None => Ok(None),
        };
    };
    let cluster = options
        .rate_limit_cluster
        .as_ref()
        .unwrap_or(&remote.cluster);
    if options.to == Form::Envoy && clusters::OTHERS.contains(&cluster.as_str()) {
        return Err(Misuse::new(format!(
            "--rate-limit-cluster is required: a name other than {cluster:?}, which another cluster of the output has"
        )));
    }
    if options.to == Form::Envoy && options.rate_limit_service.is_none() {
        return Err(Misuse::new(format!(
            "--rate-limit-service is required: the address of the cluster {cluster:?} that `storage` names, such as \
             \"limitador:8081\""
        )));
    }
    Ok(Some(Service {
        cluster: cluster.clone(),
        address: options.rate_limit_service.clone(),
    }))
}

fn target(options: &Options, configuration: &Configuration) -> Result<Target, Misuse> {
    if !options.selector.is_empty() {
        return Ok(Target::Labels(options.selector.clone()));
    }
    if let Some(gateway) = &options.gateway {
        return Ok(Target::Gateway(gateway.to_string()));
    }
    let targets = configuration.policies.iter().map(|policy| &policy.target);
    let gateways = targets.filter(|target| target.kind == "Gateway");
    match only(gateways.map(|target| target.name.as_str())) {
        Some(gateway) => Ok(Target::Gateway(gateway.to_owned())),
        None => Err(Misuse::new(
            "--gateway is required: the configuration has no policy, or several, for a Gateway",
        )),
    }
}

fn namespace(options: &Options, configuration: &Configuration) -> Result<String, Misuse> {
    if let Some(namespace) = &options.namespace {
        return Ok(namespace.to_string());
    }
    let names = configuration
        .policies
        .iter()
        .map(|policy| policy.name.as_str());
    match only(names.map(|name| name.split('/').next().unwrap_or_default())) {
        Some(namespace) => Ok(namespace.to_owned()),
        None => Err(Misuse::new(
            "--namespace is required: the policies are in several namespaces",
        )),
    }
}

/// Returns the text that all of several are, if there are any.
fn only<'t>(mut texts: impl Iterator<Item = &'t str>) -> Option<&'t str> {
    let first = texts.next()?;
    texts.all(|text| text == first).then_some(first)
}

fn chooses_routes(configuration: &Configuration) -> bool {
    let limits = configuration
        .policies
        .iter()
        .flat_map(|policy| &policy.limits);
    let mut fallbacks = limits.flat_map(Limit::alternatives);
    fallbacks.any(|fallback| !fallback.headers.is_empty())
}

/// Returns the document with the cluster of the rate limit service, and with the sources of `auth` if it has none.
fn document(document: Json, service: Option<&Service>, auth: Option<Json>) -> Json {
    let Json::Object(mut fields) = document else {
        return document;
    };
    let storage = fields.iter_mut().find(|(name, _)| name == "storage");
    if let (Some(service), Some((_, Json::Object(storage)))) = (service, storage) {
        for (name, value) in storage {
            if name == "cluster" {
                *value = Json::String(service.cluster.clone());
            }
        }
    }
    if let Some(auth) = auth {
        fields.push(("auth".to_owned(), auth));
    }
    Json::Object(fields)
}
