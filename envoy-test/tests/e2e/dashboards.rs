//! The dashboard and the rules for Prometheus: a real Prometheus scrapes real Envoys under traffic.

use std::{
    collections::BTreeSet,
    error::Error,
    fs,
    path::PathBuf,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use envoy_test::{
    client::Chat,
    dashboard::Dashboard,
    debian,
    envoy::Builder,
    llm::MODEL,
    metered::{Metered, configuration},
    prometheus::{self, Prometheus, Span},
    remote::{self, Protocol},
    wait, workspace,
};
use futures_util::future::{join_all, try_join};
use integration::Limitador;
use serde_json::{Value, json};

use crate::support::{TestResult, send_as};

/// How long traffic runs for the picture of the documentation, in seconds.
const PICTURE_SECONDS: f64 = 60.0;

/// The panels of that picture.
const PICTURED: [&str; 12] = [
    "Requests by decision",
    "Share rejected",
    "Rejections by limit",
    "Dry-run rejections by limit",
    "Reserved by limit",
    "Tokens by kind",
    "Tokens by model",
    "US dollars per hour",
    "US dollars in the time range",
    "Calls",
    "Alerts by limit",
    "Policy evaluation",
];

/// Panels whose values are above 0 under the traffic of [`Traffic`].
const ACTIVE: [&str; 13] = [
    "Requests by decision",
    "Share rejected",
    "Rejections by limit",
    "Dry-run rejections by limit",
    "Alerts by limit",
    "Reserved by limit",
    "Tokens by kind",
    "Tokens by model",
    "US dollars per hour",
    "US dollars in the time range",
    "Exchanges without price",
    "Calls",
    "Policy evaluation",
];

/// A gateway with its counters in Envoy and one with its counters in limitador, with clients.
struct Traffic {
    local: Metered,
    remote: Metered,
    rounds: usize,
    _limitador: Limitador,
}

// === impl Traffic ===

impl Traffic {
    async fn start() -> Result<Self, Box<dyn Error>> {
        let tags = workspace::root().join("integration/manifests/stats-tags.yaml");
        let tags: Value = serde_norway::from_str(&fs::read_to_string(tags)?)?;
        let with_tags = |builder: Builder| {
            let tags = tags["stats_config"].clone();
            builder.edit_bootstrap(move |bootstrap| bootstrap["stats_config"] = tags.clone())
        };
        let mut configuration = policy();
        let local = Metered::build(configuration.clone(), with_tags);
        configuration["storage"] = Protocol::Reserve.storage();
        let limitador = remote::limitador(&configuration)?.start().await?;
        let remote = Metered::build(configuration, |builder| {
            remote::cluster(with_tags(builder), limitador.address())
        });
        let (local, remote) = try_join(local, remote).await?;
        Ok(Self {
            local,
            remote,
            rounds: 0,
            _limitador: limitador,
        })
    }

    /// Sends chats of several callers and models to both gateways, and waits for their responses.
    async fn run_round(&mut self) -> TestResult {
        self.rounds += 1;
        // A caller that stays below its limits: a round lasts until its chats end, even if all others are rejected.
        let steady = Chat::default()
            .header("x-mock-delay-ms", 500)
            .header("x-mock-completion-tokens", 5);
        let mut responses = vec![
            send_chat(&self.local, "dave", steady.clone()),
            send_chat(&self.remote, "dave", steady),
        ];
        for (number, caller) in ["alice", "bob", "carol"].into_iter().enumerate() {
            // Callers are active in turns of eight rounds.
            if (self.rounds / 8) % 3 == number && self.rounds >= 8 {
                continue;
            }
            let model = ["small", MODEL, "large"][(self.rounds + number) % 3];
            let chat = Chat::default()
                .field("model", model)
                .header("x-mock-delay-ms", 400 + 100 * number)
                .header("x-mock-completion-tokens", 20 + self.rounds % 30);
            let chat = match self.rounds % 10 {
                3 => chat.header("x-level", "high"),
                5 => chat.stream(true),
                _ => chat,
            };
            responses.extend([
                send_chat(&self.local, caller, chat.clone()),
                send_chat(&self.remote, caller, chat),
            ]);
        }
        for status in join_all(responses).await {
            let status = status?;
            assert!([200, 429, 500].contains(&status), "{status}");
        }
        Ok(())
    }
}

async fn send_chat(metered: &Metered, caller: &str, chat: Chat) -> Result<u16, Box<dyn Error>> {
    send_as(metered, caller, &chat).await
}

/// A limit that rejects and alerts, one in dry run, one whose counter can fail, one whose predicate reads what is
/// absent, and prices of two of three models.
fn policy() -> Value {
    let limit = |tokens: u64, mut fields: Value| {
        fields["rates"] = json!([{ "limit": tokens, "window": "10s" }]);
        if fields.get("counters").is_none() {
            fields["counters"] = json!([{ "expression": "auth.identity.userid" }]);
        }
        fields
    };
    let mut configuration = configuration(json!({
        "each-user": limit(400, json!({ "alertAt": 0.6 })),
        "trial": limit(200, json!({ "shadow": true })),
        "level": limit(1_000, json!({
            "when": [{ "predicate": "'x-level' in request.headers" }],
            "counters": [{ "expression": "string(int(request.headers['x-level']))" }],
        })),
        "teams": limit(1_000, json!({ "when": [{ "predicate": "auth.identity.team == 'a'" }] })),
    }));
    configuration["pricing"] = json!({
        "small": { "input": 0.4, "output": 1.6 },
        MODEL: { "input": 2.5, "output": 10 },
    });
    configuration
}

fn rules(name: &str) -> PathBuf {
    workspace::root().join("integration/prometheus").join(name)
}

/// Whether Prometheus is missing here and cannot be installed; says so.
fn is_missing(test: &str, error: &debian::Error) -> bool {
    println!("{test}: skipped, {error}");
    matches!(error, debian::Error::NotRoot { .. })
}

fn now() -> Result<f64, Box<dyn Error>> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

#[test]
fn alerting_rules_pass_their_tests() -> TestResult {
    match prometheus::test_rules(&rules("rules.test.yaml")) {
        Ok(outcome) => Ok(outcome?),
        Err(error) if is_missing("alerting_rules_pass_their_tests", &error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[test]
fn recommended_alerts_have_rules() -> TestResult {
    let page = fs::read_to_string(workspace::root().join("docs/observability.md"))?;
    let (_, table) = page
        .split_once("### Recommended alerts")
        .ok_or("no table")?;
    let (table, _) = table.split_once("\n## ").ok_or("no end")?;
    let conditions = table.lines().filter_map(|line| line.split('|').nth(1));
    let quoted = |line: &str| -> Vec<String> {
        let parts = line.split('`').skip(1).step_by(2);
        let names = parts.map(|part| part.split('{').next().unwrap_or(part));
        let is_metric = |name: &&str| name.starts_with("tollgate_") || name.starts_with("envoy_");
        names.filter(is_metric).map(str::to_owned).collect()
    };
    let recommended: BTreeSet<_> = conditions.flat_map(quoted).collect();
    let document: Value = serde_norway::from_str(&fs::read_to_string(rules("rules.yaml"))?)?;
    let groups = document["groups"].as_array().into_iter().flatten();
    let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
    let mut expressions = String::new();
    for rule in rules {
        expressions += rule["expr"].as_str().ok_or("no expression")?;
        let Some(alert) = rule["alert"].as_str() else {
            continue;
        };
        let annotation = |name: &str| rule["annotations"][name].as_str().unwrap_or_default();
        assert_ne!(annotation("summary"), "", "{alert}");
        assert_ne!(annotation("description"), "", "{alert}");
        let runbook = annotation("runbook");
        let (path, heading) = runbook.split_once('#').ok_or(alert.to_owned())?;
        let page = fs::read_to_string(workspace::root().join(path))?;
        let headings = page.lines().filter(|line| line.starts_with('#'));
        let mut anchors = headings.map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .replace(' ', "-")
        });
        assert!(
            anchors.any(|anchor| anchor == heading),
            "{alert}: {runbook}"
        );
    }
    assert!(recommended.len() >= 10, "{recommended:?}");
    for metric in recommended {
        assert!(expressions.contains(&metric), "no rule for {metric}");
    }
    Ok(())
}

/// The queries of the dashboard without data, and active panels without a value above 0.
async fn without_data(
    dashboard: &Dashboard,
    prometheus: &Prometheus,
    span: Span,
) -> Result<Vec<String>, prometheus::Error> {
    let mut missing = Vec::new();
    for panel in dashboard.panels() {
        let mut is_active = false;
        for query in &panel.queries {
            let series = query.run(prometheus, span).await?;
            if series.is_empty() {
                missing.push(format!("{}: {}", panel.title, query.expression));
            }
            let samples = series.iter().flat_map(|series| &series.samples);
            is_active |= samples.into_iter().any(|(_, value)| *value > 0.0);
        }
        if ACTIVE.contains(&panel.title.as_str()) && !is_active {
            missing.push(format!("{}: only 0", panel.title));
        }
    }
    Ok(missing)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboard_queries_return_data() -> TestResult {
    let test = "dashboard_queries_return_data";
    match debian::program("prometheus", "prometheus") {
        Err(error) if is_missing(test, &error) => return Ok(()),
        program => program?,
    };
    let dashboard = Dashboard::read()?;
    let mut traffic = Traffic::start().await?;
    let envoys = [&traffic.local, &traffic.remote].map(|side| side.envoy.admin_address());
    let prometheus = Prometheus::start(&envoys, &rules("rules.yaml")).await?;
    let start = now()?;
    let deadline = Instant::now() + wait::DEADLINE;
    loop {
        traffic.run_round().await?;
        let missing = without_data(&dashboard, &prometheus, (start, now()?)).await?;
        if missing.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{missing:#?}");
    }
    for variable in &dashboard.variables {
        let values = prometheus.label_values(&variable.name, &variable.metric);
        assert!(!values.await?.is_empty(), "{variable:?}");
    }
    // All rules have been evaluated by now, without an error.
    let rules = prometheus.rules().await?;
    assert!(rules.len() >= 15, "{rules:?}");
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }

    if std::env::var_os("UPDATE_DASHBOARD").is_some() {
        while now()? < start + PICTURE_SECONDS {
            traffic.run_round().await?;
        }
        let span = (start, start + PICTURE_SECONDS);
        let picture = dashboard.picture(&prometheus, span, &PICTURED).await?;
        fs::write(workspace::root().join("docs/dashboard.svg"), picture)?;
    }
    traffic.local.check().await?;
    traffic.remote.check().await?;
    Ok(())
}

#[test]
fn pictured_panels_exist() -> TestResult {
    let dashboard = Dashboard::read()?;
    let titles: BTreeSet<_> = dashboard.panels().map(|panel| &*panel.title).collect();
    for title in PICTURED.into_iter().chain(ACTIVE) {
        assert!(titles.contains(title), "{title}");
    }
    Ok(())
}
