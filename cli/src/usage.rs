//! `tollgate usage`: requests, tokens, dollars and rejections of an access log, by user, team or model, or the largest
//! counters of an Envoy.

mod admin;
mod forms;

use std::{
    collections::HashMap,
    io::{self, BufRead},
    path::PathBuf,
};

use clap::Args;
use serde_json::{Map, Value, json};

use crate::{
    amounts,
    log::{Entry, Fields, Log, Tokens, UnknownField},
    sketch::Top,
};

pub use self::{admin::largest, forms::Form};

/// The most groups with sums of their own. The smallest give way to others, and their sums go to the row of the rest.
const MAX_GROUPS: usize = 50_000;

/// The name of the row of the rest.
const REST: &str = "(others)";

/// The columns with numbers.
const COLUMNS: [&str; 6] = [
    "requests",
    "rejected",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "usd",
];

/// What `tollgate usage` takes.
#[derive(Debug, Args)]
pub struct Options {
    /// The access log: JSON lines or CSV; - for standard input
    #[arg(long, required_unless_present = "admin")]
    pub log: Option<PathBuf>,
    /// Reports the largest counters: what the usage endpoint answers to `GET PATH?top=N`; - for standard input
    #[arg(long, conflicts_with_all = ["log", "by", "fields"])]
    pub admin: Option<PathBuf>,
    /// What is summed up: user, team, model, path, host, decision, limit, source, auth.PATH or header.NAME
    #[arg(long, value_delimiter = ',', default_value = "user")]
    pub by: Vec<String>,
    /// What the names of the log mean, such as user=team,ts=time
    #[arg(long, value_delimiter = ',')]
    pub fields: Vec<String>,
    /// The form of the report
    #[arg(long, value_enum, default_value_t = Form::Table)]
    pub format: Form,
    /// How many rows are printed, the largest first; the rest of a log is one row
    #[arg(long, default_value_t = 1000)]
    pub top: usize,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log cannot be read.
    #[error("--log: {0}")]
    Io(#[from] io::Error),
    /// A field is not known.
    #[error("{0}")]
    Fields(#[from] UnknownField),
    /// Entries cannot be grouped by something.
    #[error(
        "--by: found {0:?}, expected user, team, model, path, host, decision, limit, source, auth.PATH or header.NAME"
    )]
    By(String),
    /// The largest counters cannot be read.
    #[error("--admin: {0}")]
    Admin(#[from] admin::Error),
}

/// By what entries are grouped.
#[derive(Debug)]
enum By {
    User,
    Team,
    Model,
    Path,
    Host,
    Decision,
    Limit,
    Source,
    Auth(String),
    Header(String),
}

/// The sums of a group.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    requests: u64,
    rejected: u64,
    tokens: Tokens,
    /// Billionths of a dollar.
    usd: u64,
}

/// The sums of all groups.
struct Report {
    names: Vec<String>,
    groups: HashMap<Vec<String>, Sums>,
    order: Top<Vec<String>>,
    rest: Sums,
    total: Sums,
}

/// Reports the usage in a log. The second text is a warning on lines that were skipped.
///
/// # Errors
/// [`Error`].
pub fn usage(options: &Options, log: impl BufRead) -> Result<(String, Option<String>), Error> {
    let by = options.by.iter().map(|name| By::of(name));
    let by: Vec<By> = by.collect::<Result<_, _>>()?;
    let fields = Fields::new(options.fields.iter().map(String::as_str))?;
    let mut log = Log::new(log, fields);
    let mut report = Report {
        names: options.by.clone(),
        groups: HashMap::new(),
        order: Top::new(MAX_GROUPS),
        rest: Sums::default(),
        total: Sums::default(),
    };
    while let Some(entry) = log.read()? {
        let group = by.iter().map(|by| by.value(&entry)).collect();
        report.add(group, Sums::of(&entry));
    }
    let text = match options.format {
        Form::Table => report.table(options.top),
        Form::Csv => report.csv(options.top),
        Form::Json => format!("{:#}\n", report.json(options.top)),
    };
    let warning = log.first_skipped.map(|(line, reason)| {
        format!(
            "--log: skipped {} lines, the first is line {line}: {reason}",
            log.skipped
        )
    });
    Ok((text, warning))
}

// === impl By ===

impl By {
    fn of(name: &str) -> Result<Self, Error> {
        if let Some(path) = name.strip_prefix("auth.") {
            return Ok(Self::Auth(path.to_owned()));
        }
        if let Some(header) = name.strip_prefix("header.") {
            return Ok(Self::Header(header.to_ascii_lowercase()));
        }
        Ok(match name {
            "user" => Self::User,
            "team" => Self::Team,
            "model" => Self::Model,
            "path" => Self::Path,
            "host" => Self::Host,
            "decision" => Self::Decision,
            "limit" => Self::Limit,
            "source" => Self::Source,
            other => return Err(Error::By(other.to_owned())),
        })
    }

    /// Returns the value of an entry; `-` if it has none.
    fn value(&self, entry: &Entry) -> String {
        let json = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let text = match self {
            Self::User => entry.user.as_ref().map(json),
            Self::Team => entry.team.clone(),
            Self::Model => entry.model.clone(),
            Self::Path => entry.path.clone(),
            Self::Host => entry.host.clone(),
            Self::Decision => entry.decision.clone(),
            Self::Limit => entry.limit.clone(),
            Self::Source => entry.source.clone(),
            Self::Auth(path) => {
                let mut names = path.split('.');
                let first = names.next().and_then(|name| entry.auth.get(name));
                let value = names.try_fold(first, |value, name| Some(value?.get(name)));
                value.flatten().map(json)
            }
            Self::Header(name) => {
                let mut headers = entry.headers.iter();
                let header = headers.find(|(known, _)| known == name);
                header.map(|(_, value)| value.clone())
            }
        };
        let text = text.unwrap_or_else(|| "-".to_owned());
        forms::printable(&text)
    }
}

// === impl Sums ===

impl Sums {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "casts of doubles saturate, and negative dollars are not read"
    )]
    fn of(entry: &Entry) -> Self {
        Self {
            requests: 1,
            rejected: entry.is_rejected().into(),
            tokens: entry.tokens.unwrap_or_default().completed(),
            usd: (entry.usd.unwrap_or_default() * 1e9).round() as u64,
        }
    }

    fn add(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.requests, other.requests),
            (&mut self.rejected, other.rejected),
            (&mut self.tokens.input, other.tokens.input),
            (&mut self.tokens.output, other.tokens.output),
            (&mut self.tokens.total, other.tokens.total),
            (&mut self.usd, other.usd),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    fn numbers(&self) -> [u64; 5] {
        let Tokens {
            input,
            output,
            total,
            ..
        } = self.tokens;
        [self.requests, self.rejected, input, output, total]
    }

    /// Returns the columns.
    fn texts(&self) -> Vec<String> {
        let usd = amounts::usd(self.usd).trim_start_matches('$').to_owned();
        let numbers = self.numbers().into_iter().map(|number| number.to_string());
        numbers.chain([usd]).collect()
    }
}

// === impl Report ===

impl Report {
    fn add(&mut self, group: Vec<String>, sums: Sums) {
        self.total.add(sums);
        let weight = sums.tokens.total.saturating_add(1);
        if let Some(evicted) = self.order.add(&group, weight)
            && let Some(sums) = self.groups.remove(&evicted)
        {
            self.rest.add(sums);
        }
        self.groups.entry(group).or_default().add(sums);
    }

    /// Returns the largest groups, then the rest, if there is any.
    fn rows(&self, top: usize) -> Vec<(Vec<String>, Sums)> {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by(|(one, sums), (other, others)| {
            let key = |sums: &Sums| (sums.tokens.total, sums.requests);
            key(others).cmp(&key(sums)).then_with(|| one.cmp(other))
        });
        let mut rest = self.rest;
        for (_, sums) in groups.iter().skip(top) {
            rest.add(**sums);
        }
        let shown = groups.into_iter().take(top);
        let mut rows: Vec<_> = shown.map(|(group, sums)| (group.clone(), *sums)).collect();
        if rest.requests > 0 {
            rows.push((self.named(REST), rest));
        }
        rows
    }

    /// Returns a row's names: this one, and then nothing.
    fn named(&self, name: &str) -> Vec<String> {
        let mut names = vec![String::new(); self.names.len()];
        if let Some(first) = names.first_mut() {
            name.clone_into(first);
        }
        names
    }

    fn table(&self, top: usize) -> String {
        let mut header = self.names.clone();
        header.extend(COLUMNS.map(str::to_owned));
        let mut rows = vec![header];
        let groups = self
            .rows(top)
            .into_iter()
            .chain([(self.named("total"), self.total)]);
        rows.extend(groups.map(|(mut group, sums)| {
            group.extend(sums.texts());
            group
        }));
        forms::table(&rows, self.names.len()..usize::MAX)
    }

    fn csv(&self, top: usize) -> String {
        let mut header = self.names.clone();
        header.extend(COLUMNS.map(str::to_owned));
        let mut rows = vec![header];
        rows.extend(self.rows(top).into_iter().map(|(mut group, sums)| {
            group.extend(sums.texts());
            group
        }));
        forms::csv(&rows)
    }

    fn json(&self, top: usize) -> Value {
        let row = |sums: &Sums| {
            let mut row = Map::new();
            for (name, number) in COLUMNS.iter().zip(sums.numbers()) {
                row.insert((*name).to_owned(), number.into());
            }
            row.insert("usd".to_owned(), sums.texts().pop().into());
            row
        };
        let rows = self.rows(top).into_iter().map(|(group, sums)| {
            let mut row = row(&sums);
            for (name, value) in self.names.iter().zip(group) {
                row.insert(name.clone(), value.into());
            }
            Value::Object(row)
        });
        json!({ "rows": rows.collect::<Vec<_>>(), "total": row(&self.total) })
    }
}
