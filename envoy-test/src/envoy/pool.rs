//! Processes that one gateway after another uses.
//!
//! Envoy compiles the module when the first VM of a process loads it, which takes seconds of CPU time. Further VMs use
//! the compiled module as well, as long as one VM that has loaded it exists. So each process of the pool has a listener
//! of its own, the anchor, whose VMs exist as long as the process. When a process is used again, the listener and the
//! VMs of the previous gateway are gone, and Envoy's counters are zero.

use std::{
    fs,
    net::SocketAddr,
    ops::Deref,
    path::Path,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    admin::Admin,
    builder::{self, Builder},
    error::Error,
    process::{Files, Options, Process},
    ready,
};
use crate::{binary, filters::Tollgate, wait};

/// How long the removal of a gateway may take. A process that takes longer is not used again.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(10);

/// How the names of the directories begin; the id of this program follows.
const DIRECTORY: &str = "envoy-pool-";

/// The processes without a gateway.
static IDLE: Mutex<Vec<Member>> = Mutex::new(Vec::new());

/// A process of the pool.
#[derive(Debug)]
struct Member {
    process: Process,
    admin: SocketAddr,
    workers: u32,
    /// The number of VMs of the anchor.
    vms: u64,
    /// The number of gateways that have used it.
    uses: u64,
}

/// A process of the pool with a gateway. When it is dropped, the gateway is removed and the process returns to the
/// pool, unless the test has panicked.
#[derive(Debug)]
pub(super) struct Lease(Option<Member>);

/// Takes a process with this number of workers from the pool, or starts one.
pub(super) async fn take(workers: u32) -> Result<Lease, Error> {
    while let Some(member) = pop(workers) {
        if let Some(lease) = member.reset().await {
            return Ok(lease);
        }
    }
    Member::start(workers).await
}

/// Returns the listener whose VMs keep the compiled module.
pub(super) fn anchor() -> Value {
    let policy = json!({
        "apiVersion": "kuadrant.io/v1alpha1",
        "kind": "TokenRateLimitPolicy",
        "metadata": { "name": "anchor" },
        "spec": {
            "targetRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "anchor" },
            "limits": { "none": { "rates": [{ "limit": 0, "window": "1h" }] } },
        },
    });
    let tollgate = Tollgate::new(policy).vm_id("anchor");
    let mut listener = Builder::default()
        .tollgate(tollgate)
        .without_access_log()
        .into_listener(Path::new(""))
        .resource();
    listener["name"] = "anchor".into();
    listener
}

fn idle() -> MutexGuard<'static, Vec<Member>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pop(workers: u32) -> Option<Member> {
    let mut idle = idle();
    let index = idle.iter().position(|member| member.workers == workers)?;
    Some(idle.swap_remove(index))
}

/// Runs a function on a thread that exists as long as this program: a process is killed with the thread that started
/// it.
fn on_lasting_thread<T: Send + 'static>(function: impl FnOnce() -> T + Send + 'static) -> T {
    type Job = Box<dyn FnOnce() + Send>;
    static JOBS: LazyLock<Mutex<mpsc::Sender<Job>>> = LazyLock::new(|| {
        remove_old_directories();
        let (sender, receiver) = mpsc::channel::<Job>();
        thread::spawn(move || receiver.iter().for_each(|job| job()));
        Mutex::new(sender)
    });
    let (sender, receiver) = mpsc::channel();
    let job: Job = Box::new(move || {
        // The receiver exists until it has received.
        let _ = sender.send(function());
    });
    let jobs = JOBS.lock().unwrap_or_else(PoisonError::into_inner);
    jobs.send(job).expect("a thread that lasts");
    drop(jobs);
    receiver.recv().expect("a thread that lasts")
}

/// Removes the directories of programs that have ended: their processes were killed with them.
fn remove_old_directories() {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let id = name
            .strip_prefix(DIRECTORY)
            .and_then(|rest| rest.split('-').next());
        if id.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            // Another program may be removing it too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

// === impl Member ===

impl Member {
    async fn start(workers: u32) -> Result<Lease, Error> {
        let files = Files::new(&format!("{DIRECTORY}{}-", std::process::id()))?;
        files.write_clusters(&[])?;
        files.write_listeners(&[anchor()])?;
        let bootstrap = builder::shared_bootstrap(&files);
        let mut options = Options::new(workers);
        // The listener of a gateway is removed at once, with its connections and VMs.
        options.arguments = ["--drain-time-s", "0"].map(str::to_owned).into();
        let binary = binary::find()?;
        let spawn = move || Process::spawn(binary, files, &bootstrap, &options);
        let process = on_lasting_thread(spawn)?;
        let admin = ready::wait_until_ready(&process).await?;
        let vms = admin.vms().await?;
        Ok(Lease(Some(Self {
            process,
            admin: admin.address(),
            workers,
            vms,
            uses: 1,
        })))
    }

    /// Waits until the previous gateway is removed, and resets all counters. Returns `None` if the process cannot be
    /// used again.
    async fn reset(mut self) -> Option<Lease> {
        let admin = Admin::new(self.admin);
        let removed = wait::until("the previous gateway to be removed", async || {
            match admin.vms().await {
                Ok(vms) => (vms == self.vms).then_some(true),
                Err(_) => Some(false),
            }
        });
        let removed = tokio::time::timeout(REMOVAL_TIMEOUT, removed).await;
        if !matches!(removed, Ok(Ok(true))) {
            return None;
        }
        admin.reset_counters().await.ok()?;
        self.uses += 1;
        Some(Lease(Some(self)))
    }
}

// === impl Lease ===

impl Lease {
    fn member(&self) -> &Member {
        self.0.as_ref().expect("a member until it is dropped")
    }

    /// Returns a client of the admin interface.
    pub(super) fn admin(&self) -> Admin {
        Admin::new(self.member().admin)
    }

    /// Returns the number of gateways that have used the process, with this one.
    pub(super) fn uses(&self) -> u64 {
        self.member().uses
    }
}

impl Deref for Lease {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.member().process
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(member) = self.0.take() else {
            return;
        };
        let is_reusable = !thread::panicking() && member.process.is_alive();
        if is_reusable && member.process.files().write_listeners(&[anchor()]).is_ok() {
            idle().push(member);
        }
    }
}
