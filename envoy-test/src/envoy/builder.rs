//! The configuration of an Envoy.

use std::{fmt, net::SocketAddr, path::Path, sync::Arc};

use serde_json::{Map, Value, json};

use super::{
    access_log,
    process::{Files, Options},
};
use crate::filters::{self, Tollgate, socket_address};

/// The cluster of the provider.
pub const UPSTREAM: &str = "llm";
/// The cluster of the authorization service.
pub(super) const AUTHORINO: &str = "authorino";
/// The cluster of the rate limit service.
pub const RATE_LIMIT: &str = "ratelimit";

/// The listener of a gateway.
pub(super) const LISTENER: &str = "ingress";

type Edit = Arc<dyn Fn(&mut Value) + Send + Sync>;

/// The configuration of an Envoy. By default it has one worker and answers every request with 200.
///
/// The order of the filters is: authorization, those of [`filter`](Self::filter), Envoy's rate limit filter,
/// tollgate, router.
#[derive(Clone)]
pub struct Builder {
    upstream: Option<SocketAddr>,
    upstream_http2: bool,
    authorization: Option<SocketAddr>,
    rate_limit: Option<(SocketAddr, String, Value)>,
    filters: Vec<Value>,
    clusters: Vec<Value>,
    routes: Vec<Value>,
    route_metadata: Map<String, Value>,
    tollgate: Option<Tollgate>,
    access_log: bool,
    edit_listener: Option<Edit>,
    edit_bootstrap: Option<Edit>,
    options: Options,
    shares_process: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            upstream: None,
            upstream_http2: false,
            authorization: None,
            rate_limit: None,
            filters: Vec::new(),
            clusters: Vec::new(),
            routes: Vec::new(),
            route_metadata: Map::new(),
            tollgate: None,
            access_log: true,
            edit_listener: None,
            edit_bootstrap: None,
            options: Options::new(1),
            shares_process: false,
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Builder")
            .field("upstream", &self.upstream)
            .field("filters", &self.http_filters())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Routes everything to the provider at this address, the cluster [`UPSTREAM`].
    #[must_use]
    pub fn upstream(mut self, address: SocketAddr) -> Self {
        self.upstream = Some(address);
        self
    }

    /// Uses HTTP/2 to the provider instead of HTTP/1.1.
    #[must_use]
    pub fn upstream_http2(mut self) -> Self {
        self.upstream_http2 = true;
        self
    }

    /// Adds the authorization filter, with the service at this address.
    #[must_use]
    pub fn authorization(mut self, address: SocketAddr) -> Self {
        self.authorization = Some(address);
        self
    }

    /// Adds Envoy's own rate limit filter, with the service at this address, a domain, and the `actions` that
    /// produce the descriptor. It applies only to requests that are routed upstream.
    #[must_use]
    pub fn rate_limit(mut self, address: SocketAddr, domain: &str, actions: Value) -> Self {
        self.rate_limit = Some((address, domain.to_owned(), actions));
        self
    }

    /// Adds an HTTP filter before tollgate; see [`crate::filters`].
    #[must_use]
    pub fn filter(mut self, filter: Value) -> Self {
        self.filters.push(filter);
        self
    }

    /// Adds a cluster; see [`filters::cluster`].
    #[must_use]
    pub fn cluster(mut self, cluster: Value) -> Self {
        self.clusters.push(cluster);
        self
    }

    /// Adds a route before the route that matches everything.
    #[must_use]
    pub fn route(mut self, route: Value) -> Self {
        self.routes.push(route);
        self
    }

    /// Sets the filter metadata of a namespace on the route that matches everything.
    #[must_use]
    pub fn route_metadata(mut self, namespace: &str, value: Value) -> Self {
        self.route_metadata.insert(namespace.to_owned(), value);
        self
    }

    /// Adds tollgate.
    #[must_use]
    pub fn tollgate(mut self, tollgate: Tollgate) -> Self {
        self.tollgate = Some(tollgate);
        self
    }

    /// Sets the number of worker threads.
    #[must_use]
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.options.concurrency = workers;
        self
    }

    /// Binds all threads to one core of the machine.
    #[must_use]
    pub fn pinned_to(mut self, core: usize) -> Self {
        self.options.core = Some(core);
        self
    }

    /// Disables the access log, for measurements.
    #[must_use]
    pub fn without_access_log(mut self) -> Self {
        self.access_log = false;
        self
    }

    /// Sets the log level of plugins: `trace`, `debug`, `info` (the default) or `warning`.
    #[must_use]
    pub fn wasm_log_level(mut self, level: &str) -> Self {
        level.clone_into(&mut self.options.wasm_log_level);
        self
    }

    /// Adds command line arguments.
    #[must_use]
    pub fn arguments<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.options
            .arguments
            .extend(arguments.into_iter().map(str::to_owned));
        self
    }

    /// Edits the finished listener, for settings that this builder lacks.
    #[must_use]
    pub fn edit_listener(mut self, edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.edit_listener = Some(Arc::new(edit));
        self
    }

    /// Keeps trailers of HTTP/1.1 messages, which Envoy drops by default. This is an edit of the listener.
    #[must_use]
    pub fn enable_trailers(self) -> Self {
        self.edit_listener(|listener| {
            let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
            manager["http_protocol_options"] = json!({ "enable_trailers": true });
        })
    }

    /// Edits the finished bootstrap, for settings that this builder lacks.
    #[must_use]
    pub fn edit_bootstrap(mut self, edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.edit_bootstrap = Some(Arc::new(edit));
        self
    }

    /// Uses a process that other gateways have used before, if one is idle: to start a process takes seconds, as
    /// Envoy compiles the module.
    ///
    /// The gateway has its own listener, clusters, VMs and access log, and all counters are 0 at its start. It cannot
    /// be updated. Options of the process and edits of the bootstrap take precedence over this.
    #[must_use]
    pub fn shared_process(mut self) -> Self {
        self.shares_process = true;
        self
    }

    /// Starts a process of its own, for tests of updates, memory and crashes. This is the default, except for
    /// gateways of [`Metered`](crate::metered::Metered).
    #[must_use]
    pub fn own_process(mut self) -> Self {
        self.shares_process = false;
        self
    }

    /// Returns whether the gateway can use a process of the pool.
    pub(super) fn can_share_process(&self) -> bool {
        self.shares_process
            // Without a module, a process starts at once.
            && self.tollgate.is_some()
            && self.edit_bootstrap.is_none()
            && self.options == Options::new(self.options.concurrency)
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// Returns the bootstrap of its own process.
    pub(super) fn bootstrap(&self, files: &Files) -> Value {
        let mut bootstrap = bootstrap(files);
        bootstrap["static_resources"] = json!({ "clusters": self.all_clusters() });
        if let Some(edit) = &self.edit_bootstrap {
            edit(&mut bootstrap);
        }
        bootstrap
    }

    /// Returns the clusters as resources of the cluster discovery service.
    pub(super) fn cluster_resources(&self) -> Vec<Value> {
        let mut clusters = self.all_clusters();
        for cluster in &mut clusters {
            cluster["@type"] = "type.googleapis.com/envoy.config.cluster.v3.Cluster".into();
        }
        clusters
    }

    /// Sets the `vm_id` of tollgate.
    pub(super) fn vm_id(mut self, vm_id: &str) -> Self {
        self.tollgate = self.tollgate.map(|tollgate| tollgate.vm_id(vm_id));
        self
    }

    /// Returns the listener, which logs to the file `access_log`.
    pub(super) fn into_listener(self, access_log: &Path) -> Listener {
        let logger = self.access_log.then(|| access_log::logger(access_log));
        Listener {
            builder: self,
            logger,
        }
    }

    fn all_clusters(&self) -> Vec<Value> {
        let http2 = self.upstream_http2;
        let upstream = self
            .upstream
            .map(|address| filters::cluster(UPSTREAM, address, http2));
        let authorization = self
            .authorization
            .map(|address| filters::cluster(AUTHORINO, address, true));
        let rate_limit = self
            .rate_limit
            .as_ref()
            .map(|(address, ..)| filters::cluster(RATE_LIMIT, *address, true));
        [upstream, authorization, rate_limit]
            .into_iter()
            .flatten()
            .chain(self.clusters.iter().cloned())
            .collect()
    }

    fn http_filters(&self) -> Vec<Value> {
        let authorization = self.authorization.map(|_| filters::ext_authz(AUTHORINO));
        let rate_limit = self
            .rate_limit
            .as_ref()
            .map(|(_, domain, _)| filters::rate_limit(RATE_LIMIT, domain));
        authorization
            .into_iter()
            .chain(self.filters.iter().cloned())
            .chain(rate_limit)
            .chain(self.tollgate.iter().map(Tollgate::filter))
            .chain([filters::router()])
            .collect()
    }

    fn virtual_host(&self) -> Value {
        let mut everything = json!({
            "name": "everything",
            "match": { "prefix": "/" },
            "metadata": { "filter_metadata": self.route_metadata },
        });
        if self.upstream.is_some() {
            everything["route"] = json!({ "cluster": UPSTREAM, "timeout": "0s" });
        } else {
            everything["direct_response"] = json!({ "status": 200 });
        }
        let mut host = json!({
            "name": "all",
            "domains": ["*"],
            "routes": self.routes.iter().cloned().chain([everything]).collect::<Vec<_>>(),
        });
        if let Some((.., actions)) = &self.rate_limit {
            host["rate_limits"] = json!([{ "actions": actions }]);
        }
        host
    }
}

/// Returns the bootstrap of a process of the pool, whose clusters can be replaced.
pub(super) fn shared_bootstrap(files: &Files) -> Value {
    let mut bootstrap = bootstrap(files);
    let clusters = json!({ "path_config_source": files.clusters() });
    bootstrap["dynamic_resources"]["cds_config"] = clusters;
    bootstrap
}

/// Returns a bootstrap without clusters.
fn bootstrap(files: &Files) -> Value {
    json!({
        "node": { "id": "envoy-test", "cluster": "envoy-test" },
        "admin": { "address": socket_address(([127, 0, 0, 1], 0).into()) },
        "dynamic_resources": { "lds_config": { "path_config_source": files.listeners() } },
    })
}

/// The listener of a running Envoy.
#[derive(Debug, Clone)]
pub(super) struct Listener {
    builder: Builder,
    logger: Option<Value>,
}

impl Listener {
    pub(super) fn with_tollgate(&self, tollgate: Tollgate) -> Self {
        Self {
            builder: self.builder.clone().tollgate(tollgate),
            logger: self.logger.clone(),
        }
    }

    /// Returns the listener as a resource of the listener discovery service.
    pub(super) fn resource(&self) -> Value {
        let mut listener = json!({
            "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
            "name": LISTENER,
            "address": socket_address(([127, 0, 0, 1], 0).into()),
            "filter_chains": [{ "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": "ingress",
                    "codec_type": "AUTO",
                    // Tests send large headers.
                    "max_request_headers_kb": 512,
                    "upgrade_configs": [{ "upgrade_type": "websocket" }],
                    "access_log": self.logger.iter().collect::<Vec<_>>(),
                    "route_config": { "virtual_hosts": [self.builder.virtual_host()] },
                    "http_filters": self.builder.http_filters(),
                },
            }] }],
        });
        if let Some(edit) = &self.builder.edit_listener {
            edit(&mut listener);
        }
        listener
    }
}
