//! A running Envoy: a process that listens on free ports, is observed, and ends when dropped.
//!
//! The listener comes from a file that Envoy watches, so a test can update it while Envoy runs
//! and see whether the update is accepted.

mod access_log;
mod admin;
mod builder;
mod error;
mod process;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde_json::Value;

pub use self::{
    access_log::AccessLogEntry,
    admin::Memory,
    builder::{Builder, RATE_LIMIT, UPSTREAM},
    error::{Error, Rejection},
};
use self::{
    admin::Admin,
    builder::Listener,
    process::{Files, Process},
};
use crate::{binary, filters::Tollgate, wait};

/// A running Envoy. It ends when this is dropped, or when the thread that started it ends.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: Admin,
    listener: Listener,
    address: SocketAddr,
}

/// What became of an update of the listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// It is effective for new connections.
    Accepted,
    /// The listener before it stays effective.
    Rejected(Rejection),
}

// === impl Builder ===

impl Builder {
    /// Starts Envoy and waits until it serves.
    ///
    /// Envoy ends with the calling thread, so that thread must outlive it.
    ///
    /// # Errors
    /// When no Envoy is available, when it ends, or when it rejects the configuration.
    pub async fn start(self) -> Result<Envoy, Error> {
        Envoy::start(self).await
    }
}

// === impl Envoy ===

impl Envoy {
    /// Returns a builder.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    async fn start(builder: Builder) -> Result<Self, Error> {
        let files = Files::new()?;
        let (bootstrap, listener, options) = builder.into_parts(&files);
        files.write_listener(&listener.resource())?;
        let process = Process::spawn(binary::find()?, files, &bootstrap, &options)?;
        let alive = |admin: Option<SocketAddr>| {
            if process.is_alive() {
                Ok(admin)
            } else {
                Err(process.ended())
            }
        };
        let address = wait::until("envoy's admin address", async || {
            alive(process.admin_address()).transpose()
        });
        let admin = Admin::new(process.with_log(address.await)??);
        let ready = wait::until("envoy to be ready", async || {
            match admin.listener_state().await {
                Ok(state) => state.settled().map(Ok),
                Err(error) if process.is_alive() => {
                    // It does not listen yet.
                    drop(error);
                    None
                }
                Err(_) => Some(Err(process.ended())),
            }
        });
        let accepted = process.with_log(ready.await)??;
        if !accepted {
            return Err(Error::Rejected(Rejection {
                reason: admin.rejection().await?,
                log: process.log()?,
            }));
        }
        let bound = wait::until("envoy's listener", async || {
            admin.listener_address().await.transpose()
        });
        let address = process.with_log(bound.await)??;
        Ok(Self {
            process,
            admin,
            listener,
            address,
        })
    }

    /// Returns the address of its listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of a path on its listener.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the address of its admin interface.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Replaces tollgate in the running listener, and waits until Envoy has accepted or rejected the update.
    ///
    /// Open connections keep the configuration under which they were opened.
    ///
    /// # Errors
    /// When Envoy does neither.
    pub async fn update(&mut self, tollgate: Tollgate) -> Result<Update, Error> {
        let listener = self.listener.with_tollgate(tollgate);
        let log = self.logs()?.len();
        let before = self.admin.listener_state().await?;
        self.process.files().write_listener(&listener.resource())?;
        let settled = wait::until(
            "envoy to accept or reject the listener",
            async || match self.admin.listener_state().await {
                Ok(state) => state.settled_since(&before).map(Ok),
                Err(error) => Some(Err(error)),
            },
        );
        if self.process.with_log(settled.await)?? {
            self.listener = listener;
            return Ok(Update::Accepted);
        }
        Ok(Update::Rejected(Rejection {
            reason: self.admin.rejection().await?,
            log: self.logs()?.split_off(log),
        }))
    }

    /// Returns the counters and gauges whose names begin with `prefix`.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub async fn stats(&self, prefix: &str) -> Result<BTreeMap<String, u64>, Error> {
        Ok(self.admin.stats(prefix).await?)
    }

    /// Returns a counter or gauge, or 0 while Envoy has none of that name.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub async fn stat(&self, name: &str) -> Result<u64, Error> {
        Ok(self.admin.stat(name).await?)
    }

    /// Waits until a counter or gauge satisfies `predicate`, and returns its value.
    ///
    /// # Errors
    /// When it does not in time, or the admin interface does not answer.
    pub async fn wait_for_stat(
        &self,
        name: &str,
        predicate: impl Fn(u64) -> bool,
    ) -> Result<u64, Error> {
        let waited = wait::until(format!("the stat {name}"), async || {
            match self.admin.stat(name).await {
                Ok(value) => predicate(value).then_some(Ok(value)),
                Err(error) => Some(Err(error)),
            }
        });
        Ok(self.process.with_log(waited.await)??)
    }

    /// Returns everything that it has logged.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn logs(&self) -> Result<String, Error> {
        Ok(self.process.log()?)
    }

    /// Waits until the access log has at least `count` entries, and returns all of them in order.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn access_log(&self, count: usize) -> Result<Vec<AccessLogEntry>, Error> {
        let path = self.process.files().access_log();
        let waited =
            wait::until(
                format!("{count} access log entries"),
                async || match access_log::read(&path) {
                    Ok(entries) => (entries.len() >= count).then_some(Ok(entries)),
                    Err(error) => Some(Err(error)),
                },
            );
        Ok(self.process.with_log(waited.await)??)
    }

    /// Waits for the access log entry of the request with this value of the header `x-test-id`.
    ///
    /// # Errors
    /// When it is not written in time.
    pub async fn logged(&self, test_id: &str) -> Result<AccessLogEntry, Error> {
        let path = self.process.files().access_log();
        let waited =
            wait::until(
                format!("the access log entry {test_id}"),
                async || match access_log::read(&path) {
                    Ok(entries) => {
                        let mut entries = entries.into_iter();
                        entries
                            .find(|entry| entry.test_id() == Some(test_id))
                            .map(Ok)
                    }
                    Err(error) => Some(Err(error)),
                },
            );
        Ok(self.process.with_log(waited.await)??)
    }

    /// Returns its memory.
    ///
    /// # Errors
    /// When the admin interface does not answer, or it has ended.
    pub async fn memory(&self) -> Result<Memory, Error> {
        let resident = self.process.resident()?;
        Ok(self.admin.memory(resident).await?)
    }

    /// Returns the CPU time of all its threads, in user and system mode.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_time(&self) -> Result<Duration, Error> {
        Ok(self.process.cpu_time()?)
    }

    /// Returns whether it is running.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// Returns its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Fetches a page of the admin interface that is JSON, such as `/config_dump`.
    ///
    /// # Errors
    /// When the admin interface does not answer with JSON.
    pub async fn admin(&self, path: &str) -> Result<Value, Error> {
        Ok(self.admin.json(path).await?)
    }
}
