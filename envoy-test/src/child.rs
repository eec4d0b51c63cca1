//! Child processes that end with the process that started them.

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

/// A running process.
///
/// It is killed and reaped when this is dropped, and killed when the thread that started it ends.
#[derive(Debug)]
pub struct Child {
    process: Mutex<process::Child>,
    id: u32,
}

impl Child {
    /// Starts a process; with `core`, all its threads are bound to that core of the machine.
    ///
    /// It is killed when the calling *thread* ends: in an asynchronous runtime that must be a thread that lasts.
    ///
    /// # Errors
    /// When the process cannot be started, or there is no such core.
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
        // SAFETY: between fork and exec it makes two system calls, neither of which allocates or locks.
        unsafe { command.pre_exec(before_exec) };
        let process = command.spawn()?;
        Ok(Self {
            id: process.id(),
            process: Mutex::new(process),
        })
    }

    /// Returns the process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns whether it is running.
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
        // Both fail only for a process that has already been reaped.
        let _ = process.kill();
        let _ = process.wait();
    }
}
