//! The running service: its port, its connections, and outages on command.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    middleware,
    routing::get,
};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitServiceServer as EnvoyServer;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use limitador::{errors::LimitadorError, limit::Limit};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Mutex,
    task::{JoinHandle, JoinSet},
};
use tonic::service::Routes;

use crate::{
    calls::{self, Calls},
    counters::{Counters, Standing},
    limits,
    protocol::rate_limit_service_server::RateLimitServiceServer as KuadrantServer,
    service::Service,
};

/// The maximum number of connections that are not accepted yet.
const BACKLOG: u32 = 1024;

/// A running limitador service, stopped when dropped. It serves gRPC, and `GET` of `/limits/{namespace}` and
/// `/counters/{namespace}`, on one port.
#[derive(Debug)]
pub struct Limitador {
    address: SocketAddr,
    /// Owns the port without listening, so that no other process can bind it while it is closed.
    port: TcpSocket,
    routes: Router,
    counters: Arc<Counters>,
    calls: Calls,
    serving: Mutex<Option<JoinHandle<()>>>,
}

/// The options of a [`Limitador`]; by default counters in memory, reservations, and no quota headers.
#[derive(Debug)]
pub struct Builder {
    limits: Vec<Limit>,
    address: SocketAddr,
    redis: Option<String>,
    quota_headers: bool,
    reservations: bool,
}

/// A failure of the service.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The limits are invalid.
    #[error(transparent)]
    Limits(#[from] limits::Error),
    /// The port is not available.
    #[error("limitador: {0}")]
    Io(#[from] io::Error),
    /// Redis cannot be reached.
    #[error("limitador: cannot connect to Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// The counters cannot be read.
    #[error("limitador: {0}")]
    Counters(#[from] LimitadorError),
}

/// How connections are answered.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Serve,
    WrongBytes,
}

// === impl Builder ===

impl Builder {
    /// Listens at this address instead of a free port of the loopback interface.
    #[must_use]
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Keeps the counters in the Redis at this URL instead of in memory.
    #[must_use]
    pub fn redis(mut self, url: &str) -> Self {
        self.redis = Some(url.to_owned());
        self
    }

    /// Answers `ShouldRateLimit` with the quota headers of draft 3, as limitador does with
    /// `--rate-limit-headers DRAFT_VERSION_03`.
    #[must_use]
    pub fn quota_headers(mut self) -> Self {
        self.quota_headers = true;
        self
    }

    /// Answers `Reserve` and `Commit` with UNIMPLEMENTED, as older versions of limitador do.
    #[must_use]
    pub fn without_reservations(mut self) -> Self {
        self.reservations = false;
        self
    }

    /// Starts the service.
    ///
    /// # Errors
    /// When the port is not available, or Redis cannot be reached.
    pub async fn start(self) -> Result<Limitador, Error> {
        let counters = match self.redis {
            None => Counters::in_memory(self.limits),
            Some(url) => Counters::in_redis(&url, self.limits).await?,
        };
        let counters = Arc::new(counters);
        let service = Service {
            counters: Arc::clone(&counters),
            quota_headers: self.quota_headers,
            reservations: self.reservations,
        };
        let calls = Calls::default();
        let methods = Routes::new(EnvoyServer::new(service.clone()))
            .add_service(KuadrantServer::new(service));
        let routes = Router::new()
            .route("/limits/{*namespace}", get(get_limits))
            .route("/counters/{*namespace}", get(get_counters))
            .with_state(Arc::clone(&counters))
            .merge(methods.into_axum_router())
            .layer(middleware::from_fn_with_state(calls.clone(), calls::handle));
        let port = socket()?;
        port.bind(self.address)?;
        let limitador = Limitador {
            address: port.local_addr()?,
            port,
            routes,
            counters,
            calls,
            serving: Mutex::new(None),
        };
        limitador.serve().await?;
        Ok(limitador)
    }
}

// === impl Limitador ===

impl Limitador {
    /// Returns the builder of a service with these limits.
    #[must_use]
    pub fn builder(limits: Vec<Limit>) -> Builder {
        Builder {
            limits,
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            redis: None,
            quota_headers: false,
            reservations: true,
        }
    }

    /// Starts a service with its counters in memory and the limits of a `limits.yaml`.
    ///
    /// # Errors
    /// When the limits are invalid, or no port is available.
    pub async fn start(limits: &str) -> Result<Self, Error> {
        Self::builder(limits::parse(limits)?).start().await
    }

    /// Returns the address at which it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its calls, to count them and to make them fail.
    #[must_use]
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Returns the counters of a namespace whose windows have not ended.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn counters(&self, namespace: &str) -> Result<Vec<Standing>, Error> {
        Ok(self.counters.standings(&namespace.into()).await?)
    }

    /// Closes all connections and the port, like a service that has stopped. Counters are kept.
    pub async fn close(&self) {
        if let Some(task) = self.serving.lock().await.take() {
            task.abort();
            // The result is that it was aborted.
            let _ = task.await;
        }
    }

    /// Closes all connections, and answers on new ones with bytes that are not HTTP/2.
    ///
    /// # Errors
    /// When it cannot listen at its port.
    pub async fn answer_wrong_bytes(&self) -> Result<(), Error> {
        self.listen(Mode::WrongBytes).await
    }

    /// Closes all connections, and serves new ones.
    ///
    /// # Errors
    /// When it cannot listen at its port.
    pub async fn serve(&self) -> Result<(), Error> {
        self.listen(Mode::Serve).await
    }

    async fn listen(&self, mode: Mode) -> Result<(), Error> {
        self.close().await;
        let socket = socket()?;
        socket.bind(self.port.local_addr()?)?;
        let listener = socket.listen(BACKLOG)?;
        let task = tokio::spawn(accept(listener, self.routes.clone(), mode));
        *self.serving.lock().await = Some(task);
        Ok(())
    }
}

impl Drop for Limitador {
    fn drop(&mut self) {
        if let Some(task) = self.serving.get_mut().take() {
            task.abort();
        }
    }
}

/// A socket that may share its port with others.
fn socket() -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    Ok(socket)
}

/// Accepts connections until it is aborted, which closes them.
async fn accept(listener: TcpListener, routes: Router, mode: Mode) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((connection, _)) => {
                    connections.spawn(handle(connection, routes.clone(), mode));
                }
                Err(error) => eprintln!("limitador: {error}"),
            },
            // Removes connections that have ended from the set.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn handle(mut connection: TcpStream, routes: Router, mode: Mode) {
    if let Err(error) = connection.set_nodelay(true) {
        eprintln!("limitador: {error}");
    }
    // Errors of a connection are caused by the peer, which sees them too.
    match mode {
        Mode::Serve => {
            let service = TowerToHyperService::new(routes);
            let server = auto::Builder::new(TokioExecutor::new());
            let _ = server
                .serve_connection(TokioIo::new(connection), service)
                .await;
        }
        Mode::WrongBytes => {
            let _ = connection
                .write_all(b"\x00\xff no frame of HTTP/2 \xff\x00")
                .await;
            let _ = connection.shutdown().await;
        }
    }
}

/// Answers `GET /limits/{namespace}` as limitador does.
async fn get_limits(
    State(counters): State<Arc<Counters>>,
    Path(namespace): Path<String>,
) -> Json<Value> {
    let limits = counters.limits(&namespace.into());
    Json(limits.iter().map(limit_json).collect())
}

/// Answers `GET /counters/{namespace}` as limitador does.
async fn get_counters(
    State(counters): State<Arc<Counters>>,
    Path(namespace): Path<String>,
) -> Result<Json<Value>, (StatusCode, String)> {
    let standings = counters.standings(&namespace.into()).await;
    let standings = standings.map_err(|error| {
        let message = match error {
            LimitadorError::StorageError(_) => "the storage failed, see the log".to_owned(),
            error @ LimitadorError::InterpreterError(_) => error.to_string(),
        };
        (StatusCode::INTERNAL_SERVER_ERROR, message)
    })?;
    let standings = standings.iter().map(|standing| {
        json!({
            "limit": limit_json(&standing.definition),
            "set_variables": standing.variables,
            "remaining": standing.max_value.saturating_sub(standing.used),
            "expires_in_seconds": standing.expires_in.as_secs(),
        })
    });
    Ok(Json(standings.collect()))
}

fn limit_json(limit: &Limit) -> Value {
    json!({
        "id": limit.id(),
        "name": limit.name(),
        "namespace": limit.namespace().as_ref(),
        "max_value": limit.max_value(),
        "seconds": limit.seconds(),
        "conditions": limit.conditions(),
        "variables": limit.variables(),
    })
}
