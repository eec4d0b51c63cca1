//! Waiting for an Envoy that starts.

use std::net::SocketAddr;

use super::{
    admin::{Admin, ListenerState},
    error::{Error, Rejection},
    process::Process,
};
use crate::wait;

/// Waits until Envoy has accepted its first listeners, and returns a client of its admin interface.
pub(super) async fn wait_until_ready(process: &Process) -> Result<Admin, Error> {
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
    let admin = Admin::new(process.with_log(address.await)??);
    let settled = wait::until("envoy to be ready", async || {
        match admin.listener_state().await {
            Ok(state) => state.settled().map(Ok),
            Err(error) if process.is_alive() => {
                // It does not listen yet.
                drop(error);
                None
            }
            Err(_) => Some(Err(process.ended())),
        }
    });
    if process.with_log(settled.await)?? {
        return Ok(admin);
    }
    Err(Error::Rejected(Rejection {
        reason: admin.rejection().await?,
        log: process.log()?,
    }))
}

/// Waits until Envoy has accepted or rejected listeners written after `before`, and returns whether it has accepted.
pub(super) async fn wait_until_settled(
    process: &Process,
    admin: &Admin,
    before: &ListenerState,
) -> Result<bool, Error> {
    let settled = wait::until(
        "envoy to accept or reject the listener",
        async || match admin.listener_state().await {
            Ok(state) => state.settled_since(before).map(Ok),
            Err(error) => Some(Err(error)),
        },
    );
    Ok(process.with_log(settled.await)??)
}

/// Waits until the listener of this name is bound, and returns its address.
pub(super) async fn wait_for_address(
    process: &Process,
    admin: &Admin,
    listener: &str,
) -> Result<SocketAddr, Error> {
    let bound = wait::until("envoy's listener", async || {
        admin.listener_address(listener).await.transpose()
    });
    Ok(process.with_log(bound.await)??)
}

/// Waits until Envoy has accepted clusters written after `accepted` others.
pub(super) async fn wait_for_clusters(
    process: &Process,
    admin: &Admin,
    accepted: u64,
) -> Result<(), Error> {
    let updated = wait::until("envoy to accept the clusters", async || {
        match admin.cluster_updates().await {
            Ok(updates) => (updates > accepted).then_some(Ok(())),
            Err(error) => Some(Err(error)),
        }
    });
    Ok(process.with_log(updated.await)??)
}
