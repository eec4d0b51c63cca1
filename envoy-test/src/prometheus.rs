//! A Prometheus server for one test: Debian's `prometheus`, on a free port, with its data in a temporary directory.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Command, Stdio},
};

use reqwest::Client;
use serde_json::{Value, json};

use crate::{
    child::Child,
    client::{Protocol, client},
    command, debian,
    wait::{self, TimedOut},
};

/// The package that contains `prometheus` and `promtool`.
const PACKAGE: &str = "prometheus";

/// How many ports are tried.
const MAX_ATTEMPTS: usize = 3;

/// A running Prometheus that scrapes every second. It ends, and its data is lost, when this is dropped.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    client: Client,
    process: Child,
    _directory: tempfile::TempDir,
}

/// Values of a metric or an expression over time.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its labels, an object of texts.
    pub labels: Value,
    /// Times in seconds since 1970, with values.
    pub samples: Vec<(f64, f64)>,
}

/// The begin and the end of a time range, in seconds since 1970.
pub type Span = (f64, f64);

/// Why a Prometheus is not available, or does not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is missing and cannot be installed.
    #[error(transparent)]
    Missing(#[from] debian::Error),
    /// It cannot be started.
    #[error("prometheus: {0}")]
    Io(#[from] io::Error),
    /// It is not ready in time.
    #[error("prometheus: {0}")]
    TimedOut(#[from] TimedOut),
    /// A request receives no answer in JSON.
    #[error("prometheus: {0}")]
    Request(#[from] reqwest::Error),
    /// It rejects a query.
    #[error("prometheus: {query}: {reason}")]
    Rejected {
        /// The query.
        query: String,
        /// Its reason.
        reason: String,
    },
}

// === impl Series ===

impl Series {
    fn of(result: &Value) -> Self {
        let samples = result["values"].as_array().into_iter().flatten();
        let samples = samples.filter_map(|sample| {
            let value: f64 = sample[1].as_str()?.parse().ok()?;
            Some((sample[0].as_f64()?, value)).filter(|(_, value)| value.is_finite())
        });
        Self {
            labels: result["metric"].clone(),
            samples: samples.collect(),
        }
    }
}

// === impl Prometheus ===

impl Prometheus {
    /// Starts a Prometheus that scrapes the admin interfaces of Envoys as the job `envoy`, and evaluates a file of
    /// rules. It is installed if necessary.
    ///
    /// # Errors
    /// When it cannot be installed or started, or rejects the rules.
    pub async fn start(envoys: &[SocketAddr], rules: &Path) -> Result<Self, Error> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::try_start(envoys, rules).await {
                // It cannot listen on port 0, and another process may have taken the port chosen for it.
                Err(Error::Io(_)) if attempts < MAX_ATTEMPTS => {}
                prometheus => return prometheus,
            }
        }
    }

    async fn try_start(envoys: &[SocketAddr], rules: &Path) -> Result<Self, Error> {
        let program = debian::program("prometheus", PACKAGE)?;
        let directory = tempfile::tempdir()?;
        let configuration = directory.path().join("prometheus.yml");
        let targets: Vec<_> = envoys.iter().map(SocketAddr::to_string).collect();
        let text = json!({
            "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
            "rule_files": [rules],
            "scrape_configs": [{
                "job_name": "envoy",
                "metrics_path": "/stats/prometheus",
                "static_configs": [{ "targets": targets }],
            }],
        });
        // JSON is YAML.
        fs::write(&configuration, text.to_string())?;
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let flag = |name: &str, value: &str| format!("--{name}={value}");
        let mut command = Command::new(program);
        command
            .arg(flag("config.file", &configuration.to_string_lossy()))
            .arg(flag(
                "storage.tsdb.path",
                &directory.path().to_string_lossy(),
            ))
            .arg(flag("web.listen-address", &address.to_string()))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let prometheus = Self {
            address,
            client: client(Protocol::Http1),
            process: Child::spawn(command, None)?,
            _directory: directory,
        };
        wait::until("prometheus", async || {
            if !prometheus.process.is_alive() {
                return Some(Err(io::Error::other("the process ended")));
            }
            let url = format!("http://{address}/-/ready");
            let ready = prometheus.client.get(url).send().await.ok()?;
            ready.status().is_success().then_some(Ok(()))
        })
        .await??;
        Ok(prometheus)
    }

    /// Returns the values of an expression in a time range, one a second.
    ///
    /// # Errors
    /// When it is not valid.
    pub async fn range(&self, query: &str, span: Span) -> Result<Vec<Series>, Error> {
        let (start, end) = (format!("{:.3}", span.0), format!("{:.3}", span.1));
        let parameters = [
            ("query", query),
            ("start", &start),
            ("end", &end),
            ("step", "1"),
        ];
        let data = self.get("query_range", &parameters).await?;
        let results = data["result"].as_array().into_iter().flatten();
        Ok(results.map(Series::of).collect())
    }

    /// Returns the values of a label of the metrics that a selector matches.
    ///
    /// # Errors
    /// When the selector is not valid.
    pub async fn label_values(&self, label: &str, selector: &str) -> Result<Vec<String>, Error> {
        let path = format!("label/{label}/values");
        let data = self.get(&path, &[("match[]", selector)]).await?;
        let values = data.as_array().into_iter().flatten();
        Ok(values
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect())
    }

    /// Returns the rules that it evaluates, with their health.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn rules(&self) -> Result<Vec<Value>, Error> {
        let data = self.get("rules", &[]).await?;
        let groups = data["groups"].as_array().into_iter().flatten();
        let rules = groups.filter_map(|group| group["rules"].as_array());
        Ok(rules.flatten().cloned().collect())
    }

    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, Error> {
        let mut url = reqwest::Url::parse(&format!("http://{}/api/v1/{path}", self.address))
            .map_err(io::Error::other)?;
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let answer: Value = self.client.get(url).send().await?.json().await?;
        if answer["status"] == "success" {
            return Ok(answer["data"].clone());
        }
        let query = parameters.first().map_or(path, |(_, query)| query);
        Err(Error::Rejected {
            query: query.to_owned(),
            reason: answer["error"].to_string(),
        })
    }
}

/// Runs the unit tests of rules in a file, with `promtool`. It is installed if necessary.
///
/// # Errors
/// When it cannot be installed.
pub fn test_rules(tests: &Path) -> Result<Result<(), String>, debian::Error> {
    let program = debian::program("promtool", PACKAGE)?;
    let mut command = Command::new(program);
    command.args(["test", "rules"]).arg(tests);
    Ok(command::run(&mut command).map(|_| ()))
}
