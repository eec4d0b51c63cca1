//! A running Envoy: a process that listens on free ports, is observed, and ends when dropped.
//!
//! The listener comes from a file that Envoy watches, so a test can update it while Envoy runs
//! and see whether the update is accepted.

mod access_log;
mod admin;
mod builder;
mod error;
mod pool;
mod process;
mod ready;

use std::{collections::BTreeMap, net::SocketAddr, ops::Deref, path::PathBuf, time::Duration};

use serde_json::Value;

pub use self::{
    access_log::AccessLogEntry,
    admin::Memory,
    builder::{Builder, RATE_LIMIT, UPSTREAM},
    error::{Error, Rejection},
};
use self::{
    admin::Admin,
    builder::{LISTENER, Listener},
    pool::Lease,
    process::{Files, Process},
};
use crate::{binary, filters::Tollgate, wait};

/// A running Envoy. It ends when this is dropped, or when the thread that started it ends.
#[derive(Debug)]
pub struct Envoy {
    process: Host,
    admin: Admin,
    listener: Listener,
    address: SocketAddr,
    access_log: PathBuf,
    /// The length of the log when it started.
    log_start: usize,
}

/// The process of an Envoy.
#[derive(Debug)]
enum Host {
    Own(Process),
    Shared(Lease),
}

/// What became of an update of the listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// It is effective for new connections.
    Accepted,
    /// The listener before it stays effective.
    Rejected(Rejection),
}

// === impl Host ===

impl Deref for Host {
    type Target = Process;

    fn deref(&self) -> &Process {
        match self {
            Self::Own(process) => process,
            Self::Shared(lease) => lease,
        }
    }
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
        if builder.can_share_process() {
            return Self::start_in_pool(builder).await;
        }
        let files = Files::new("envoy-")?;
        let bootstrap = builder.bootstrap(&files);
        let options = builder.options().clone();
        let access_log = files.access_log(1);
        let listener = builder.into_listener(&access_log);
        files.write_listeners(&[listener.resource()])?;
        let process = Process::spawn(binary::find()?, files, &bootstrap, &options)?;
        let admin = ready::wait_until_ready(&process).await?;
        let address = ready::wait_for_address(&process, &admin, LISTENER).await?;
        Ok(Self {
            process: Host::Own(process),
            admin,
            listener,
            address,
            access_log,
            log_start: 0,
        })
    }

    async fn start_in_pool(builder: Builder) -> Result<Self, Error> {
        let process = pool::take(builder.options().concurrency).await?;
        let admin = process.admin();
        let log_start = process.log()?.len();
        let access_log = process.files().access_log(process.uses());
        let updates = admin.cluster_updates().await?;
        process
            .files()
            .write_clusters(&builder.cluster_resources())?;
        ready::wait_for_clusters(&process, &admin, updates).await?;

        // Shared data is kept by `vm_id`.
        let vm_id = format!("tollgate-{}", process.uses());
        let listener = builder.vm_id(&vm_id).into_listener(&access_log);
        let before = admin.listener_state().await?;
        let listeners = [pool::anchor(), listener.resource()];
        process.files().write_listeners(&listeners)?;
        if !ready::wait_until_settled(&process, &admin, &before).await? {
            return Err(Error::Rejected(Rejection {
                reason: admin.rejection().await?,
                log: process.log()?.split_off(log_start),
            }));
        }
        let address = ready::wait_for_address(&process, &admin, LISTENER).await?;
        Ok(Self {
            process: Host::Shared(process),
            admin,
            listener,
            address,
            access_log,
            log_start,
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
    /// When Envoy does neither, or the process is shared.
    pub async fn update(&mut self, tollgate: Tollgate) -> Result<Update, Error> {
        if matches!(self.process, Host::Shared(_)) {
            return Err(Error::SharedProcess);
        }
        let listener = self.listener.with_tollgate(tollgate);
        let log = self.logs()?.len();
        let before = self.admin.listener_state().await?;
        let listeners = [listener.resource()];
        self.process.files().write_listeners(&listeners)?;
        if ready::wait_until_settled(&self.process, &self.admin, &before).await? {
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

    /// Waits until the stats whose names begin with `prefix` fulfil a condition, and returns them. The module writes
    /// its metrics once a second.
    ///
    /// # Errors
    /// As [`Envoy::wait_for_stat`].
    pub async fn wait_for_stats(
        &self,
        prefix: &str,
        predicate: impl Fn(&BTreeMap<String, u64>) -> bool,
    ) -> Result<BTreeMap<String, u64>, Error> {
        let waited = wait::until(format!("stats {prefix}"), async || {
            match self.admin.stats(prefix).await {
                Ok(stats) => predicate(&stats).then_some(Ok(stats)),
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
        let log = self.process.log()?;
        Ok(log.get(self.log_start..).unwrap_or(&log).to_owned())
    }

    /// Waits until the access log has at least `count` entries, and returns all of them in order.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn access_log(&self, count: usize) -> Result<Vec<AccessLogEntry>, Error> {
        let path = &self.access_log;
        let waited =
            wait::until(
                format!("{count} access log entries"),
                async || match access_log::read(path) {
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
        let path = &self.access_log;
        let waited =
            wait::until(
                format!("the access log entry {test_id}"),
                async || match access_log::read(path) {
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

    /// Returns the CPU time of each worker, by the name of its thread.
    ///
    /// # Errors
    /// When it has ended, or the kernel keeps no statistics of scheduling.
    pub fn worker_cpu_times(&self) -> Result<BTreeMap<String, Duration>, Error> {
        Ok(self.process.worker_cpu_times()?)
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

    /// Returns the metrics whose names contain `filter` in Prometheus' format.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub async fn prometheus(&self, filter: &str) -> Result<String, Error> {
        Ok(self.admin.prometheus(filter).await?)
    }

    /// Fetches a page of the admin interface that is JSON, such as `/config_dump`.
    ///
    /// # Errors
    /// When the admin interface does not answer with JSON.
    pub async fn admin(&self, path: &str) -> Result<Value, Error> {
        Ok(self.admin.json(path).await?)
    }
}
