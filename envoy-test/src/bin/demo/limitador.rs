//! The tutorial with two Envoys that share their limits: their counters are in a limitador, and its in Redis.

use std::collections::HashMap;

use envoy_test::{
    client::Protocol,
    redis::{self, Redis},
    remote,
    tutorial::{self, Caller, Gateway, policy, steps},
    wait,
};
use integration::Limitador;
use serde_json::json;

use crate::tutorial::{WORKERS, line, print_heading};

/// The domain of the tutorial's limits: the namespace of the policy, and the name of what it is attached to.
const DOMAIN: &str = "gateway-system/trlp-tutorial-gateway";

/// What goes wrong with a play, apart from its outcomes.
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

/// Two gateways, and what they share.
pub(crate) struct Shared {
    pub(crate) gateways: [Gateway; 2],
    limitador: Limitador,
    _redis: Redis,
}

/// Plays everything, and returns how many outcomes were not the tutorial's.
pub(crate) async fn play() -> Result<usize, Error> {
    let mut faults = Shared::start(Protocol::Http1)
        .await?
        .show("The tutorial, each request to the other Envoy", false)
        .await?;
    faults += Shared::start(Protocol::Http2)
        .await?
        .show("The same, streamed, over HTTP/2", true)
        .await?;
    Ok(faults)
}

impl Shared {
    /// Sets all of it up, with nothing spent yet, and clients that speak `protocol`.
    pub(crate) async fn start(protocol: Protocol) -> Result<Self, Error> {
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

    /// Plays the tutorial, showing each step as it happens with what limitador says is left, and returns how
    /// many went wrong.
    async fn show(&self, title: &str, stream: bool) -> Result<usize, Error> {
        print_heading(title);
        let mut faults = 0;
        let mut spent = HashMap::new();
        for (step, gateway) in steps(stream).iter().zip(self.gateways.iter().cycle()) {
            let mut outcome = gateway.play(step).await?;
            faults += usize::from(!outcome.faults.is_empty());
            let spent = spent.entry(step.caller).or_insert(0_u64);
            *spent += outcome.cost;
            outcome.left = self.left_after(step.caller, *spent).await?;
            println!("{}", line(step, &outcome));
        }
        Ok(faults)
    }

    /// What limitador says is left of what a caller may use, once all that was spent has come there: a response does not
    /// wait for its settlement. Where it never comes, that is what limitador says all the same.
    async fn left_after(&self, caller: Caller, spent: u64) -> Result<Option<u64>, Error> {
        let expected = caller.limit().map(|limit| limit.saturating_sub(spent));
        let settled = wait::until("the settlement", async || match self.left(caller).await {
            Ok(left) if left != expected => None,
            left => Some(left),
        });
        match settled.await {
            Ok(left) => left,
            Err(_) => self.left(caller).await,
        }
    }

    async fn left(&self, caller: Caller) -> Result<Option<u64>, Error> {
        let name = match caller {
            Caller::Nobody => return Ok(None),
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

    /// Says how to see what limitador has counted.
    pub(crate) fn invite(&self) {
        let address = self.limitador.address();
        println!("  curl -s http://{address}/limits/{DOMAIN}\n");
        println!("  curl -s http://{address}/counters/{DOMAIN}\n");
    }
}
