//! Kuadrant's tutorial with two Envoys that share their limits: the counters are in limitador on Redis.

use std::collections::HashMap;

use envoy_test::{
    binary,
    client::Protocol,
    envoy,
    redis::{self, Redis},
    remote,
    tutorial::{self, Caller, Gateway, policy, steps},
    wait,
};
use integration::Limitador;
use serde_json::json;

use crate::{commands, table};

const WORKERS: u32 = 2;

/// The domain of the tutorial's limits: the policy's namespace and the name of its target.
const DOMAIN: &str = "gateway-system/trlp-tutorial-gateway";

/// Why the steps cannot be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Tutorial(#[from] tutorial::Error),
    #[error(transparent)]
    Redis(#[from] redis::Error),
    #[error(transparent)]
    Remote(#[from] remote::Error),
    #[error(transparent)]
    Limitador(#[from] integration::Error),
}

/// Two gateways, and the storage that they share.
struct Shared {
    gateways: [Gateway; 2],
    limitador: Limitador,
    _redis: Redis,
}

/// Runs all steps, and keeps the gateways running unless `once`. Returns how many outcomes differ from the tutorial.
pub(crate) async fn run(once: bool) -> Result<usize, Error> {
    let found = binary::find().map_err(envoy::Error::from);
    let version = &found.map_err(tutorial::Error::from)?.version;
    println!(
        "Two Envoys {version} with tollgate and the policy of examples/kuadrant/policy.yaml, \
         their counters in limitador on Redis"
    );
    let mut mismatches = Shared::start(Protocol::Http1)
        .await?
        .show("The tutorial, with the Envoys in turn", false)
        .await?;
    mismatches += Shared::start(Protocol::Http2)
        .await?
        .show("With streamed responses, over HTTP/2", true)
        .await?;
    if !once {
        let unused = Shared::start(Protocol::Http1).await?;
        println!("\nTry it at either Envoy, with unused limits (Ctrl-C to stop):\n");
        unused.gateways.iter().for_each(commands::print);
        let address = unused.limitador.address();
        println!("  curl -s http://{address}/limits/{DOMAIN}\n");
        println!("  curl -s http://{address}/counters/{DOMAIN}\n");
        tokio::signal::ctrl_c()
            .await
            .map_err(tutorial::Error::from)?;
    }
    Ok(mismatches)
}

// === impl Shared ===

impl Shared {
    /// Starts everything, with unused limits, and clients of `protocol`.
    async fn start(protocol: Protocol) -> Result<Self, Error> {
        let configuration = json!({
            "policies": [policy()],
            "storage": remote::Protocol::Reserve.storage(),
        });
        let redis = Redis::start().await?;
        let limitador = remote::limitador(&configuration)?.redis(&redis.url());
        let limitador = limitador.start().await?;
        let address = limitador.address();
        let gateway = || {
            Gateway::build(configuration.clone(), protocol, |builder| {
                remote::cluster(builder.concurrency(WORKERS), address)
            })
        };
        Ok(Self {
            gateways: [gateway().await?, gateway().await?],
            limitador,
            _redis: redis,
        })
    }

    /// Runs the tutorial and prints each outcome as it happens, with the remaining tokens according to limitador.
    /// Returns how many outcomes differ from the tutorial.
    async fn show(&self, title: &str, stream: bool) -> Result<usize, Error> {
        table::print_header(title);
        let mut mismatches = 0;
        let mut charged = HashMap::new();
        for (step, gateway) in steps(stream).iter().zip(self.gateways.iter().cycle()) {
            let mut outcome = gateway.run(step).await?;
            mismatches += usize::from(!outcome.mismatches.is_empty());
            let charged = charged.entry(step.caller).or_insert(0_u64);
            *charged += outcome.cost;
            outcome.remaining = self.remaining_after(step.caller, *charged).await?;
            table::print_row(step, &outcome);
        }
        Ok(mismatches)
    }

    /// Returns a caller's remaining tokens according to limitador once `charged` has been committed, since a response
    /// does not wait for that. If it is not committed in time, returns limitador's number as it is.
    async fn remaining_after(&self, caller: Caller, charged: u64) -> Result<Option<u64>, Error> {
        let expected = caller.limit().map(|limit| limit.saturating_sub(charged));
        let settled = wait::until("the commit", async || match self.remaining(caller).await {
            Ok(remaining) if remaining != expected => None,
            remaining => Some(remaining),
        });
        match settled.await {
            Ok(remaining) => remaining,
            Err(_) => self.remaining(caller).await,
        }
    }

    async fn remaining(&self, caller: Caller) -> Result<Option<u64>, Error> {
        let name = match caller {
            Caller::Anonymous => return Ok(None),
            Caller::Free => "free",
            Caller::Gold => "gold",
        };
        let counters = self.limitador.counters(DOMAIN).await?;
        let mut counters = counters.into_iter();
        let own = counters.find(|counter| counter.limit.as_deref() == Some(name));
        Ok(own.map_or(caller.limit(), |counter| {
            Some(counter.max_value.saturating_sub(counter.used))
        }))
    }
}
