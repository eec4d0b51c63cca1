//! A client of Envoy's admin interface.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use reqwest::{Client, Response};
use serde_json::Value;

/// The memory of an Envoy, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What its allocator has handed out, without the memory of VMs.
    pub allocated: u64,
    /// The resident memory of the process.
    pub resident: u64,
}

/// How many listeners Envoy has accepted and rejected, and whether it is working on one.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListenerState {
    accepted: u64,
    rejected: u64,
    working: bool,
}

impl ListenerState {
    /// Returns whether the first listener was accepted, or `None` while that is pending.
    pub(super) fn settled(&self) -> Option<bool> {
        let start = Self {
            accepted: 0,
            rejected: 0,
            working: false,
        };
        self.settled_since(&start)
    }

    /// Returns whether a listener written after `before` was accepted, or `None` while that is pending.
    pub(super) fn settled_since(&self, before: &Self) -> Option<bool> {
        if self.rejected > before.rejected {
            Some(false)
        } else {
            (self.accepted > before.accepted && !self.working).then_some(true)
        }
    }
}

/// A client of the admin interface.
#[derive(Debug)]
pub(super) struct Admin {
    address: SocketAddr,
    client: Client,
}

impl Admin {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            client: Client::new(),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    async fn get(&self, path: &str) -> reqwest::Result<Response> {
        let url = format!("http://{}{path}", self.address);
        self.client.get(url).send().await?.error_for_status()
    }

    pub(super) async fn json(&self, path: &str) -> reqwest::Result<Value> {
        self.get(path).await?.json().await
    }

    pub(super) async fn stats(&self, prefix: &str) -> reqwest::Result<BTreeMap<String, u64>> {
        // Histograms and texts are skipped: their values are no integers.
        let stats = self.get("/stats").await?.text().await?;
        Ok(stats
            .lines()
            .filter(|line| line.starts_with(prefix))
            .filter_map(|line| {
                let (name, value) = line.rsplit_once(": ")?;
                Some((name.to_owned(), value.parse().ok()?))
            })
            .collect())
    }

    pub(super) async fn prometheus(&self, filter: &str) -> reqwest::Result<String> {
        let path = format!("/stats/prometheus?filter={filter}");
        self.get(&path).await?.text().await
    }

    pub(super) async fn stat(&self, name: &str) -> reqwest::Result<u64> {
        Ok(self.stats(name).await?.get(name).copied().unwrap_or(0))
    }

    /// Sets all counters to 0.
    pub(super) async fn reset_counters(&self) -> reqwest::Result<()> {
        let url = format!("http://{}/reset_counters", self.address);
        self.client.post(url).send().await?.error_for_status()?;
        Ok(())
    }

    /// Returns how many VMs exist in the process.
    pub(super) async fn vms(&self) -> reqwest::Result<u64> {
        self.stat("wasm.envoy.wasm.runtime.v8.active").await
    }

    /// Returns how often Envoy has accepted clusters of the cluster discovery service.
    pub(super) async fn cluster_updates(&self) -> reqwest::Result<u64> {
        self.stat("cluster_manager.cds.update_success").await
    }

    pub(super) async fn listener_state(&self) -> reqwest::Result<ListenerState> {
        let stats = self.stats("listener_manager.").await?;
        let stat = |name: &str| {
            let name = format!("listener_manager.{name}");
            stats.get(&name).copied().unwrap_or(0)
        };
        Ok(ListenerState {
            accepted: stat("lds.update_success"),
            // A listener that Envoy cannot parse counts as a failure.
            rejected: stat("lds.update_rejected") + stat("lds.update_failure"),
            working: stat("workers_started") == 0 || stat("total_listeners_warming") > 0,
        })
    }

    /// Returns the address of the listener of this name once it is bound.
    pub(super) async fn listener_address(&self, name: &str) -> reqwest::Result<Option<SocketAddr>> {
        let listeners = self.json("/listeners?format=json").await?;
        let listeners = listeners["listener_statuses"].as_array();
        let mut listeners = listeners.into_iter().flatten();
        let Some(listener) = listeners.find(|listener| listener["name"] == name) else {
            return Ok(None);
        };
        let address = &listener["local_address"]["socket_address"];
        let port = address["port_value"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok());
        let ip: Option<IpAddr> = address["address"].as_str().and_then(|ip| ip.parse().ok());
        Ok(ip
            .zip(port)
            .filter(|(_, port)| *port != 0)
            .map(SocketAddr::from))
    }

    /// Returns why the last listener was rejected. If Envoy could not parse it, only its log says why.
    pub(super) async fn rejection(&self) -> reqwest::Result<String> {
        let dump = self.json("/config_dump?resource=dynamic_listeners").await?;
        let listeners = dump["configs"].as_array().into_iter().flatten();
        let mut details = listeners.map(|listener| &listener["error_state"]["details"]);
        let details = details.find_map(Value::as_str);
        Ok(details.unwrap_or("see the log").to_owned())
    }

    pub(super) async fn memory(&self, resident: u64) -> reqwest::Result<Memory> {
        let memory = self.json("/memory").await?;
        let allocated = memory["allocated"]
            .as_str()
            .and_then(|bytes| bytes.parse().ok());
        Ok(Memory {
            allocated: allocated.unwrap_or(0),
            resident,
        })
    }
}
