//! An authorization service that answers Envoy as Authorino does: it maps API keys to identities.
//!
//! A request authenticates with `Authorization: APIKEY <key>`. The identity of its caller becomes the dynamic
//! metadata `{"identity": ...}`, as with an `AuthPolicy` that has `response.success.filters.identity`.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use envoy_types::{
    ext_authz::v3::pb::{
        Authorization, AuthorizationServer, CheckRequest, CheckResponse, DeniedHttpResponse,
        HeaderAppendAction, HeaderValue, HeaderValueOption, HttpResponse, HttpStatus,
        HttpStatusCode, OkHttpResponse,
    },
    pb::google::{
        protobuf::{ListValue, Struct, Value as ProtobufValue, value::Kind},
        rpc::Status as RpcStatus,
    },
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, transport::Server};

const SCHEME: &str = "APIKEY ";

type Keys = Arc<RwLock<HashMap<String, Value>>>;

/// A running authorization service. It ends when this is dropped.
#[derive(Debug)]
pub struct Authorino {
    address: SocketAddr,
    keys: Keys,
    task: JoinHandle<()>,
}

impl Authorino {
    /// Starts a service with these API keys and the identity of each.
    ///
    /// # Errors
    /// When no port is available.
    pub async fn start<K: Into<String>>(
        keys: impl IntoIterator<Item = (K, Value)>,
    ) -> io::Result<Self> {
        let keys = keys
            .into_iter()
            .map(|(key, identity)| (key.into(), identity));
        let keys: Keys = Arc::new(RwLock::new(keys.collect()));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let service = AuthorizationServer::new(Service {
            keys: Arc::clone(&keys),
        });
        let task = tokio::spawn(async move {
            let server = Server::builder().add_service(service);
            if let Err(error) = server
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
            {
                eprintln!("authorization service: {error}");
            }
        });
        Ok(Self {
            address,
            keys,
            task,
        })
    }

    /// Starts a service with the two callers of Kuadrant's tutorial: `iamafreeuser` is `user-1` in the group `free`,
    /// `iamagolduser` is `user-2` in the group `gold`.
    ///
    /// # Errors
    /// When no port is available.
    pub async fn tutorial() -> io::Result<Self> {
        Self::start([
            (
                "iamafreeuser",
                json!({ "userid": "user-1", "groups": "free" }),
            ),
            (
                "iamagolduser",
                json!({ "userid": "user-2", "groups": "gold" }),
            ),
        ])
        .await
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds an API key, or changes the identity of one.
    pub fn set_key(&self, key: impl Into<String>, identity: Value) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.into(), identity);
    }
}

impl Drop for Authorino {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Service {
    keys: Keys,
}

#[tonic::async_trait]
impl Authorization for Service {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let identity = authorization(request.get_ref()).and_then(|authorization| {
            let key = authorization.strip_prefix(SCHEME)?;
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            keys.get(key).cloned()
        });
        Ok(Response::new(identity.map_or_else(denied, allowed)))
    }
}

fn authorization(request: &CheckRequest) -> Option<&str> {
    let request = request.attributes.as_ref()?.request.as_ref()?;
    let header = request.http.as_ref()?.headers.get("authorization")?;
    Some(header)
}

fn allowed(identity: Value) -> CheckResponse {
    CheckResponse {
        status: Some(RpcStatus::default()),
        dynamic_metadata: Some(Struct {
            fields: [("identity".to_owned(), protobuf(identity))].into(),
        }),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
    }
}

fn denied() -> CheckResponse {
    let header = |key: &str, value: &str| HeaderValueOption {
        header: Some(HeaderValue {
            key: key.to_owned(),
            value: value.to_owned(),
            ..HeaderValue::default()
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    };
    CheckResponse {
        status: Some(RpcStatus {
            code: Code::Unauthenticated.into(),
            ..RpcStatus::default()
        }),
        dynamic_metadata: None,
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus {
                code: HttpStatusCode::Unauthorized.into(),
            }),
            headers: vec![
                header("www-authenticate", r#"APIKEY realm="api-key-users""#),
                header("x-ext-auth-reason", "credential not found"),
            ],
            body: String::new(),
        })),
    }
}

/// Converts JSON to `google.protobuf.Value`.
fn protobuf(value: Value) -> ProtobufValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        // There, every number is a double.
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or(f64::NAN)),
        Value::String(value) => Kind::StringValue(value),
        Value::Array(values) => Kind::ListValue(ListValue {
            values: values.into_iter().map(protobuf).collect(),
        }),
        Value::Object(fields) => {
            let fields = fields
                .into_iter()
                .map(|(key, value)| (key, protobuf(value)));
            Kind::StructValue(Struct {
                fields: fields.collect(),
            })
        }
    };
    ProtobufValue { kind: Some(kind) }
}
