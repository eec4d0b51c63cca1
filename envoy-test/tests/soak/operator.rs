//! What happens to the gateway meanwhile: its configuration is replaced, and the service comes and goes.

use std::time::{Duration, Instant};

use envoy_test::{
    envoy::Update,
    filters::Tollgate,
    metered::Metered,
    remote::{self, Protocol},
    wait,
};
use integration::{
    Limitador,
    calls::{Fault, Method},
};

use crate::{Outcome, policy};

/// The time between two replacements of the configuration.
const UPDATE_INTERVAL: Duration = Duration::from_secs(60);

/// How long the service is up, and then down or failing.
const UP: Duration = Duration::from_secs(15);
const DOWN: Duration = Duration::from_secs(6);

/// The time between two measurements of memory.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// The part of the run after which memory is no longer expected to grow.
const WARM_UP: f64 = 0.3;

/// The operator of a gateway.
#[derive(Debug)]
pub(crate) struct Operator {
    duration: Duration,
    pub(crate) limitador: Option<Limitador>,
    pub(crate) updates: u64,
    /// Outages by closed connections, and by calls that fail.
    pub(crate) closed: u64,
    pub(crate) failed: u64,
    /// The calls that Envoy had in flight when connections were closed, and a few that it sent just after that.
    pub(crate) interrupted: u64,
    is_closed: bool,
    /// Resident memory in bytes after the warm-up, at its highest, and at the end.
    pub(crate) warm: u64,
    pub(crate) highest: u64,
    pub(crate) last: u64,
    pub(crate) elapsed: Duration,
}

// === impl Operator ===

impl Operator {
    pub(crate) fn new(duration: Duration, limitador: Option<Limitador>) -> Self {
        Self {
            duration,
            limitador,
            updates: 0,
            closed: 0,
            failed: 0,
            interrupted: 0,
            is_closed: false,
            warm: 0,
            highest: 0,
            last: 0,
            elapsed: Duration::ZERO,
        }
    }

    /// Operates the gateway for the whole run.
    pub(crate) async fn run(&mut self, metered: &mut Metered) -> Outcome {
        let start = Instant::now();
        // A short run has one update and one outage.
        let update_interval = UPDATE_INTERVAL.min(self.duration / 2);
        let (up, down) = (UP.min(self.duration / 3), DOWN.min(self.duration / 3));
        let (mut next_update, mut next_outage) = (update_interval, up);
        let mut is_down = false;
        while start.elapsed() < self.duration {
            tokio::time::sleep(SAMPLE_INTERVAL).await;
            let elapsed = start.elapsed();
            self.sample(metered, elapsed).await?;
            if elapsed >= next_update {
                next_update += update_interval;
                self.update(metered).await?;
            }
            if elapsed >= next_outage {
                next_outage += if is_down { up } else { down };
                if is_down {
                    self.end_outage().await?;
                } else {
                    self.begin_outage(metered).await?;
                }
                is_down = !is_down;
            }
        }
        self.elapsed = start.elapsed();
        self.end_outage().await
    }

    /// Waits until nothing is in flight any more.
    pub(crate) async fn settle(&mut self, metered: &Metered) -> Outcome {
        for (gauge, value) in [
            ("http.ingress.downstream_rq_active", 0),
            ("wasmcustom.tollgate.storage_circuit_open", 0),
            ("wasmcustom.tollgate.queued", 0),
        ] {
            metered
                .envoy
                .wait_for_stat(gauge, |now| now == value)
                .await?;
        }
        if let Some(limitador) = &self.limitador {
            // Settlements that wait for the service arrive within seconds; what counts no more has ended.
            let mut counted = policy::counted(limitador).await?;
            let mut unchanged = 0;
            wait::until("the service to have counted all", async || {
                let now = policy::counted(limitador).await.ok()?;
                unchanged = if now == counted { unchanged + 1 } else { 0 };
                counted = now;
                (unchanged > 100).then_some(())
            })
            .await?;
        }
        self.last = metered.envoy.memory().await?.resident;
        Ok(())
    }

    async fn sample(&mut self, metered: &Metered, elapsed: Duration) -> Outcome {
        let resident = metered.envoy.memory().await?.resident;
        if elapsed < self.duration.mul_f64(WARM_UP) {
            self.warm = self.warm.max(resident);
        }
        self.highest = self.highest.max(resident);
        Ok(())
    }

    async fn update(&mut self, metered: &mut Metered) -> Outcome {
        self.updates += 1;
        let storage = self.limitador.is_some().then_some(Protocol::Reserve);
        let configuration = policy::configuration(storage, self.updates);
        let tollgate = Tollgate::new(configuration).holds_headers(true);
        let update = metered.envoy.update(tollgate).await?;
        if update != Update::Accepted {
            return Err(format!("update {}: {update:?}", self.updates).into());
        }
        Ok(())
    }

    /// Closes the service, or makes its calls fail, in turn.
    async fn begin_outage(&mut self, metered: &Metered) -> Outcome {
        let Some(limitador) = &self.limitador else {
            return Ok(());
        };
        if self.closed <= self.failed {
            self.closed += 1;
            let before = failed_calls(metered).await?;
            limitador.close().await;
            self.is_closed = true;
            self.interrupted += failed_calls(metered).await? - before;
        } else {
            self.failed += 1;
            let fault = match self.failed % 3 {
                0 => Fault::Delay(Duration::from_secs(1)),
                1 => Fault::Error(tonic::Code::Unavailable),
                _ => Fault::WrongBytes,
            };
            for method in Method::ALL {
                limitador.calls().fail(method, fault.clone());
            }
        }
        Ok(())
    }

    async fn end_outage(&mut self) -> Outcome {
        if let Some(limitador) = &self.limitador {
            limitador.calls().heal();
            // Connections of a service that is up stay open: closing them interrupts calls.
            if std::mem::take(&mut self.is_closed) {
                limitador.serve().await?;
            }
        }
        Ok(())
    }
}

/// The calls of the rate limit service that have failed because their connection was closed or did not open.
async fn failed_calls(metered: &Metered) -> Outcome<u64> {
    let name = format!(
        "cluster.{}.upstream_rq_pending_failure_eject",
        remote::CLUSTER
    );
    Ok(metered.envoy.stat(&name).await?)
}
