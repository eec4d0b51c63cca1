//! Child processes that do not outlive what started them.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{self, Command},
    sync::{Mutex, PoisonError},
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::{prctl, signal::Signal},
    unistd::Pid,
};

/// A running process; killed and reaped when dropped, and killed when the thread that started it ends.
#[derive(Debug)]
pub struct Child {
    process: Mutex<process::Child>,
    id: u32,
}

impl Child {
    /// Starts a process, with all its threads bound to one core of the machine, if one is given.
    ///
    /// It dies with the calling *thread*: in an asynchronous runtime that should be one that lasts.
    ///
    /// # Errors
    /// When it cannot be started, or there is no such core.
    pub fn spawn(mut command: Command, core: Option<usize>) -> io::Result<Self> {
        let mut cores = None;
        if let Some(core) = core {
            cores.insert(CpuSet::new()).set(core)?;
        }
        let before_exec = move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if let Some(cores) = &cores {
                sched_setaffinity(Pid::this(), cores)?;
            }
            Ok(())
        };
        // SAFETY: between fork and exec it makes two system calls, and neither allocates nor locks.
        unsafe { command.pre_exec(before_exec) };
        let process = command.spawn()?;
        Ok(Self {
            id: process.id(),
            process: Mutex::new(process),
        })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(process.try_wait(), Ok(None))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let process = self
            .process
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        // Either fails only for a process that has been reaped already.
        let _ = process.kill();
        let _ = process.wait();
    }
}
