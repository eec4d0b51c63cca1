//! An Envoy process of one's own: started on free ports, observed, ended when dropped.
//!
//! The listener comes from a file that Envoy watches, so a test can change it under a running Envoy
//! and see whether the change is taken.

mod access_log;
mod admin;
mod builder;
mod process;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde_json::Value;

pub use self::{
    access_log::AccessLogEntry,
    admin::Memory,
    builder::{Builder, RATE_LIMIT, UPSTREAM},
};
use self::{
    admin::Admin,
    builder::Listener,
    process::{Files, Process},
};
use crate::{
    binary,
    filters::Tollgate,
    wait::{self, TimedOut},
};

/// A running Envoy. Ended when dropped, or when the thread that started it ends.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: Admin,
    listener: Listener,
    address: SocketAddr,
}

/// What goes wrong with an Envoy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none.
    #[error(transparent)]
    Binary(#[from] binary::Error),
    /// Its files could not be written or read, or the process not started.
    #[error("envoy: {0}")]
    Io(#[from] std::io::Error),
    /// It ended when it should have run.
    #[error("envoy ended:\n{log}")]
    Ended {
        /// The end of its log.
        log: String,
    },
    /// It refused the listener that it was started with.
    #[error("envoy refused the listener: {0}")]
    Refused(Rejection),
    /// The admin interface did not answer.
    #[error("envoy's admin interface: {0}")]
    Admin(#[from] reqwest::Error),
    /// Something awaited did not happen.
    #[error("{source}; envoy's log:\n{log}")]
    TimedOut {
        /// What was awaited.
        source: TimedOut,
        /// The end of its log.
        log: String,
    },
}

/// What Envoy did with a new listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// It is in force for new connections.
    Accepted,
    /// The old one stays in force.
    Rejected(Rejection),
}

/// Why Envoy refused a listener.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}\n{log}")]
pub struct Rejection {
    /// What Envoy gives as the reason.
    pub reason: String,
    /// What was logged meanwhile; here a plugin says what is wrong with its configuration.
    pub log: String,
}

impl Envoy {
    /// A configuration to be filled in and started.
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
        let admin = Admin::new(process.patient(address.await)??);
        let ready = wait::until("envoy to be ready", async || {
            match admin.listener_state().await {
                Ok(state) => state.settled().map(Ok),
                Err(error) if process.is_alive() => {
                    // Not listening yet.
                    drop(error);
                    None
                }
                Err(_) => Some(Err(process.ended())),
            }
        });
        let accepted = process.patient(ready.await)??;
        if !accepted {
            return Err(Error::Refused(Rejection {
                reason: admin.rejection().await?,
                log: process.log()?,
            }));
        }
        let bound = wait::until("envoy's listener", async || {
            admin.listener_address().await.transpose()
        });
        let address = process.patient(bound.await)??;
        Ok(Self {
            process,
            admin,
            listener,
            address,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path on its listener.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where its admin interface listens.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Gives the running listener another tollgate, and waits until Envoy has taken or refused it.
    ///
    /// A connection that is open stays with the configuration under which it was opened.
    ///
    /// # Errors
    /// When Envoy does neither.
    pub async fn update(&mut self, tollgate: Tollgate) -> Result<Update, Error> {
        let listener = self.listener.with_tollgate(tollgate);
        let log = self.logs()?.len();
        let before = self.admin.listener_state().await?;
        self.process.files().write_listener(&listener.resource())?;
        let taken = wait::until("envoy to take or refuse the listener", async || match self
            .admin
            .listener_state()
            .await
        {
            Ok(state) => state.settled_since(&before).map(Ok),
            Err(error) => Some(Err(error)),
        });
        if self.process.patient(taken.await)?? {
            self.listener = listener;
            return Ok(Update::Accepted);
        }
        Ok(Update::Rejected(Rejection {
            reason: self.admin.rejection().await?,
            log: self.logs()?.split_off(log),
        }))
    }

    /// The counters and gauges whose name begins with `prefix`.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub async fn stats(&self, prefix: &str) -> Result<BTreeMap<String, u64>, Error> {
        Ok(self.admin.stats(prefix).await?)
    }

    /// One counter or gauge; 0 while Envoy has none of that name.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub async fn stat(&self, name: &str) -> Result<u64, Error> {
        Ok(self.admin.stat(name).await?)
    }

    /// Waits until `predicate` holds for a counter or gauge, and returns its value.
    ///
    /// # Errors
    /// When it does not come to hold, or the admin interface does not answer.
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
        Ok(self.process.patient(waited.await)??)
    }

    /// Everything it has logged.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn logs(&self) -> Result<String, Error> {
        Ok(self.process.log()?)
    }

    /// Waits until the access log has at least `count` entries, and returns all of them in order.
    ///
    /// # Errors
    /// When they do not come.
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
        Ok(self.process.patient(waited.await)??)
    }

    /// Waits for the access log entry of the request whose header `x-test-id` is this one.
    ///
    /// # Errors
    /// When it does not come.
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
        Ok(self.process.patient(waited.await)??)
    }

    /// What memory it uses.
    ///
    /// # Errors
    /// When the admin interface does not answer, or it has ended.
    pub async fn memory(&self) -> Result<Memory, Error> {
        let resident = self.process.resident()?;
        Ok(self.admin.memory(resident).await?)
    }

    /// The CPU time that all its threads have used, in user and in system mode.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_time(&self) -> Result<Duration, Error> {
        Ok(self.process.cpu_time()?)
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// A page of the admin interface, such as `/config_dump`, as JSON.
    ///
    /// # Errors
    /// When the admin interface does not answer with JSON.
    pub async fn admin(&self, path: &str) -> Result<Value, Error> {
        Ok(self.admin.json(path).await?)
    }
}
