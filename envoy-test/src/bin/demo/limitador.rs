//! The tutorial with two Envoys that share their limits: their counters are in a limitador, and its in Redis.

use envoy_test::{
    client::Protocol,
    redis::{self, Redis},
    remote,
    tutorial::{self, Caller, Gateway, policy, steps},
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
        for (step, gateway) in steps(stream).iter().zip(self.gateways.iter().cycle()) {
            let mut outcome = gateway.play(step).await?;
            faults += usize::from(!outcome.faults.is_empty());
            outcome.left = self.left(step.caller).await?;
            println!("{}", line(step, &outcome));
        }
        Ok(faults)
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
