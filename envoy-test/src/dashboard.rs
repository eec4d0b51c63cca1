//! The Grafana dashboard of `integration/dashboards`: its panels, their queries, and a picture of them.

mod chart;
mod picture;

use std::{fs, io, path::PathBuf};

use serde_json::Value;

use self::picture::Drawing;
use crate::{
    prometheus::{self, Prometheus, Series, Span},
    workspace,
};

/// A dashboard.
#[derive(Debug)]
pub struct Dashboard {
    /// Its rows, in their order.
    pub rows: Vec<Row>,
    /// Its variables that are queries.
    pub variables: Vec<Variable>,
}

/// A row of panels.
#[derive(Debug)]
pub struct Row {
    /// Its title.
    pub title: String,
    /// Its panels.
    pub panels: Vec<Panel>,
}

/// A panel.
#[derive(Debug)]
pub struct Panel {
    /// Its title.
    pub title: String,
    /// Grafana's unit of its values.
    pub unit: String,
    /// Its queries.
    pub queries: Vec<Query>,
}

/// A query of a panel.
#[derive(Debug)]
pub struct Query {
    /// The expression, with Grafana's variables.
    pub expression: String,
    /// The text of the legend, with labels as `{{name}}`.
    pub legend: String,
}

/// A variable: the values of a label of a metric.
#[derive(Debug)]
pub struct Variable {
    /// Its name, and that of the label.
    pub name: String,
    /// The metric.
    pub metric: String,
}

/// Why there is no dashboard.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its file is not the JSON of a dashboard.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is not valid.
        reason: String,
    },
}

// === impl Dashboard ===

impl Dashboard {
    /// Reads the dashboard of the workspace.
    ///
    /// # Errors
    /// When it cannot be read, or has no rows.
    pub fn read() -> Result<Self, Error> {
        let path = workspace::root().join("integration/dashboards/tollgate.json");
        let text = fs::read_to_string(&path).map_err(|source| Error::Read {
            path: path.clone(),
            source,
        })?;
        let invalid = |reason: String| Error::Invalid { path, reason };
        let model: Value = match serde_json::from_str(&text) {
            Ok(model) => model,
            Err(error) => return Err(invalid(error.to_string())),
        };
        let mut rows: Vec<Row> = Vec::new();
        for panel in model["panels"].as_array().into_iter().flatten() {
            let title = text_of(&panel["title"]);
            if panel["type"] == "row" {
                let panels = Vec::new();
                rows.push(Row { title, panels });
            } else if let Some(row) = rows.last_mut() {
                row.panels.push(Panel::of(title, panel));
            } else {
                return Err(invalid(format!("panel {title:?} is in no row")));
            }
        }
        if rows.is_empty() {
            return Err(invalid("no rows".to_owned()));
        }
        let variables = model["templating"]["list"].as_array();
        let variables = variables.into_iter().flatten().filter_map(Variable::of);
        Ok(Self {
            rows,
            variables: variables.collect(),
        })
    }

    /// Returns all panels.
    pub fn panels(&self) -> impl Iterator<Item = &Panel> {
        self.rows.iter().flat_map(|row| &row.panels)
    }

    /// Returns a picture of the panels with these titles, as SVG. Panels that do not exist are left out.
    ///
    /// # Errors
    /// When Prometheus rejects a query.
    pub async fn picture(
        &self,
        prometheus: &Prometheus,
        span: Span,
        titles: &[&str],
    ) -> Result<String, prometheus::Error> {
        let mut drawings = Vec::new();
        for title in titles {
            if let Some(panel) = self.panels().find(|panel| panel.title == *title) {
                drawings.push(panel.draw(prometheus, span).await?);
            }
        }
        Ok(picture::svg(&drawings, span))
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

// === impl Panel ===

impl Panel {
    fn of(title: String, panel: &Value) -> Self {
        let targets = panel["targets"].as_array().into_iter().flatten();
        let queries = targets.map(|target| Query {
            expression: text_of(&target["expr"]),
            legend: text_of(&target["legendFormat"]),
        });
        Self {
            title,
            unit: text_of(&panel["fieldConfig"]["defaults"]["unit"]),
            queries: queries.collect(),
        }
    }

    async fn draw(
        &self,
        prometheus: &Prometheus,
        span: Span,
    ) -> Result<Drawing, prometheus::Error> {
        let mut lines = Vec::new();
        for query in &self.queries {
            for series in query.run(prometheus, span).await? {
                lines.push((query.legend_of(&series), series));
            }
        }
        Ok(Drawing {
            title: self.title.clone(),
            unit: self.unit.clone(),
            lines,
        })
    }
}

// === impl Query ===

impl Query {
    /// Returns the series that it yields with all values of the variables. Those without values are left out.
    ///
    /// # Errors
    /// When Prometheus rejects it.
    pub async fn run(
        &self,
        prometheus: &Prometheus,
        span: Span,
    ) -> Result<Vec<Series>, prometheus::Error> {
        let mut series = prometheus.range(&self.promql(), span).await?;
        series.retain(|series| !series.samples.is_empty());
        Ok(series)
    }

    /// Returns the expression without variables: Grafana replaces them by the regular expression for all values, and
    /// by durations that suit the interval of scrapes and the time range.
    fn promql(&self) -> String {
        let names = ["$instance", "$policy", "$limit", "$model"];
        let expression = self.expression.replace("$__rate_interval", "10s");
        let expression = expression.replace("$__range", "1h");
        names
            .into_iter()
            .fold(expression, |text, name| text.replace(name, ".*"))
    }

    fn legend_of(&self, series: &Series) -> String {
        let labels = series.labels.as_object().into_iter().flatten();
        labels.fold(self.legend.clone(), |text, (name, value)| {
            text.replace(
                &format!("{{{{{name}}}}}"),
                value.as_str().unwrap_or_default(),
            )
        })
    }
}

// === impl Variable ===

impl Variable {
    fn of(variable: &Value) -> Option<Self> {
        let definition = variable["definition"].as_str()?;
        let arguments = definition
            .strip_prefix("label_values(")?
            .strip_suffix(')')?;
        let (metric, label) = arguments.split_once(", ")?;
        (variable["name"] == label).then(|| Self {
            name: label.to_owned(),
            metric: metric.to_owned(),
        })
    }
}
