//! The rate limit service of `integration` answers as limitador does, with its counters in memory or in Redis. The same
//! calls are made to limitador's own server in `limitador_server.rs`.

use std::{error::Error, net::SocketAddr, ops::Deref, time::Duration};

use envoy_test::{redis::Redis, wait};
use envoy_types::pb::envoy::{
    extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor::Entry},
    service::ratelimit::v3::{
        RateLimitRequest, RateLimitResponse,
        rate_limit_response::Code::{self, Ok as Admitted, OverLimit, Unknown},
        rate_limit_service_client::RateLimitServiceClient as EnvoyClient,
    },
};
use integration::{
    Limitador,
    calls::{Fault, Method},
    limits,
    protocol::{
        CommitRequest, ReserveRequest, ReserveResponse,
        rate_limit_service_client::RateLimitServiceClient as KuadrantClient,
    },
};
use serde_json::Value;
use tonic::{Status, transport::Channel};

use crate::support::TestResult;

const DOMAIN: &str = "default/llm";
const KEY: &str = "tokenlimit.free__6130666f";

/// Ten an hour for each user, and five a second for the tier `gold`.
pub(crate) const LIMITS: &str = r#"
- name: free
  namespace: default/llm
  max_value: 10
  seconds: 3600
  conditions: ['descriptors[0]["tokenlimit.free__6130666f"] == "1"']
  variables: ['descriptors[0]["auth.identity.userid"]']
- name: second
  namespace: default/llm
  max_value: 5
  seconds: 1
  conditions: ['descriptors[0]["tier"] == "gold"']
  variables: []
"#;

/// A service and its client.
struct Peer {
    limitador: Limitador,
    client: Client,
    redis: Option<Redis>,
}

/// A client of either service.
pub(crate) struct Client {
    http: SocketAddr,
    envoy: EnvoyClient<Channel>,
    kuadrant: KuadrantClient<Channel>,
}

impl Peer {
    async fn start(in_redis: bool) -> Result<Self, Box<dyn Error>> {
        let mut builder = Limitador::builder(limits::parse(LIMITS)?).quota_headers();
        let mut redis = None;
        if in_redis {
            let server = Redis::start().await?;
            builder = builder.redis(&server.url());
            redis = Some(server);
        }
        Self::of(builder.start().await?, redis)
    }

    fn of(limitador: Limitador, redis: Option<Redis>) -> Result<Self, Box<dyn Error>> {
        let address = limitador.address();
        Ok(Self {
            limitador,
            client: Client::new(address, address)?,
            redis,
        })
    }
}

impl Deref for Peer {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Client {
    pub(crate) fn new(grpc: SocketAddr, http: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let channel = Channel::from_shared(format!("http://{grpc}"))?.connect_lazy();
        Ok(Self {
            http,
            envoy: EnvoyClient::new(channel.clone()),
            kuadrant: KuadrantClient::new(channel),
        })
    }

    async fn should(&self, user: &str, hits: u32) -> Result<RateLimitResponse, Status> {
        let request = request(DOMAIN, user, hits);
        let mut client = self.envoy.clone();
        Ok(client.should_rate_limit(request).await?.into_inner())
    }

    async fn check(&self, user: &str, hits: u32) -> Result<Code, Status> {
        let request = request(DOMAIN, user, hits);
        let mut client = self.kuadrant.clone();
        let reply = client.check_rate_limit(request).await?;
        Ok(reply.into_inner().overall_code())
    }

    pub(crate) async fn report(&self, user: &str, hits: u32) -> Result<Code, Status> {
        let request = request(DOMAIN, user, hits);
        let mut client = self.kuadrant.clone();
        Ok(client.report(request).await?.into_inner().overall_code())
    }

    pub(crate) async fn reserve(
        &self,
        user: &str,
        amount: u64,
        ttl: Duration,
    ) -> Result<ReserveResponse, Status> {
        let request = ReserveRequest {
            domain: DOMAIN.to_owned(),
            descriptors: vec![descriptor(&[(KEY, "1"), ("auth.identity.userid", user)])],
            amount,
            ttl: ttl.try_into().ok(),
        };
        let mut client = self.kuadrant.clone();
        Ok(client.reserve(request).await?.into_inner())
    }

    async fn commit(&self, user: &str, id: &str, amount: u64) -> Result<(), Status> {
        let request = CommitRequest {
            domain: DOMAIN.to_owned(),
            descriptors: vec![descriptor(&[(KEY, "1"), ("auth.identity.userid", user)])],
            reservation_id: id.to_owned(),
            actual_amount: amount,
        };
        let mut client = self.kuadrant.clone();
        client.commit(request).await?;
        Ok(())
    }

    /// What the service reports of a namespace over HTTP: its `limits` or its `counters`.
    async fn get(&self, what: &str) -> Result<Vec<Value>, Box<dyn Error>> {
        let namespace = DOMAIN.replace('/', "%2F");
        let url = format!("http://{}/{what}/{namespace}", self.http);
        Ok(reqwest::get(url).await?.error_for_status()?.json().await?)
    }

    /// The usage of a user.
    async fn used(&self, user: &str) -> Result<u64, Box<dyn Error>> {
        let counters = self.get("counters").await?;
        let is_own = |counter: &&Value| {
            let variables = counter["set_variables"].as_object();
            variables.is_some_and(|variables| variables.values().any(|value| value == user))
        };
        let Some(own) = counters.iter().find(is_own) else {
            return Ok(0);
        };
        let limit = own["limit"]["max_value"].as_u64().ok_or("max_value")?;
        let remaining = own["remaining"].as_u64().unwrap_or(limit);
        Ok(limit - remaining)
    }
}

fn descriptor(entries: &[(&str, &str)]) -> RateLimitDescriptor {
    let entries = entries.iter().map(|(key, value)| Entry {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    });
    RateLimitDescriptor {
        entries: entries.collect(),
        ..RateLimitDescriptor::default()
    }
}

fn request(domain: &str, user: &str, hits: u32) -> RateLimitRequest {
    RateLimitRequest {
        domain: domain.to_owned(),
        descriptors: vec![descriptor(&[(KEY, "1"), ("auth.identity.userid", user)])],
        hits_addend: hits,
    }
}

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) async fn checks_and_adds(peer: &Client) -> TestResult {
    let mut reply = peer.should("alice", 4).await?;
    assert_eq!(reply.overall_code(), Admitted);
    reply
        .response_headers_to_add
        .retain(|header| header.key != "X-RateLimit-Reset");
    let headers = reply.response_headers_to_add.iter();
    let headers: Vec<_> = headers
        .map(|header| (header.key.as_str(), header.value.as_str()))
        .collect();
    assert_eq!(
        headers,
        [
            ("X-RateLimit-Limit", "10, 10;w=3600;name=\"free\""),
            ("X-RateLimit-Remaining", "6"),
        ]
    );
    // An amount that does not fit is not added; 0 counts as 1.
    assert_eq!(peer.should("alice", 7).await?.overall_code(), OverLimit);
    assert_eq!(peer.should("alice", 0).await?.overall_code(), Admitted);
    assert_eq!(peer.should("alice", 5).await?.overall_code(), Admitted);
    assert_eq!(peer.should("alice", 0).await?.overall_code(), OverLimit);
    assert_eq!(peer.used("alice").await?, 10);
    assert_eq!(peer.should("bob", 10).await?.overall_code(), Admitted);
    Ok(())
}

pub(crate) async fn checks_and_reports(peer: &Client) -> TestResult {
    // A check ignores the number of hits and writes nothing.
    assert_eq!(peer.check("carol", 1_000).await?, Admitted);
    assert_eq!(peer.used("carol").await?, 0);
    assert_eq!(peer.report("carol", 8).await?, Admitted);
    assert_eq!(peer.report("carol", 0).await?, Admitted);
    assert_eq!(peer.check("carol", 1_000).await?, Admitted);
    // A report is added, whether it fits or not.
    assert_eq!(peer.report("carol", 30).await?, Admitted);
    assert_eq!(peer.check("carol", 0).await?, OverLimit);
    assert_eq!(peer.used("carol").await?, 10);
    Ok(())
}

pub(crate) async fn reserves_and_commits(peer: &Client) -> TestResult {
    let first = peer.reserve("dave", 6, HOUR).await?;
    assert_eq!(first.code(), Admitted);
    assert!(!first.reservation_id.is_empty());
    // Only `Reserve` respects reservations.
    assert_eq!(peer.reserve("dave", 5, HOUR).await?.code(), OverLimit);
    assert_eq!(peer.check("dave", 1).await?, Admitted);
    assert_eq!(peer.used("dave").await?, 0);
    peer.commit("dave", &first.reservation_id, 3).await?;
    assert_eq!(peer.used("dave").await?, 3);
    let second = peer.reserve("dave", 7, HOUR).await?;
    assert_eq!(second.code(), Admitted);
    peer.commit("dave", &second.reservation_id, 1).await?;
    assert_eq!(peer.used("dave").await?, 4);
    // More than the limit cannot be reserved.
    assert_eq!(peer.reserve("erin", 11, HOUR).await?.code(), OverLimit);
    Ok(())
}

pub(crate) async fn uncommitted_reservation_expires(peer: &Client) -> TestResult {
    let short = Duration::from_millis(200);
    let lost = peer.reserve("frank", 10, short).await?;
    assert_eq!(lost.code(), Admitted);
    let later = wait::until("the reservation to expire", async || {
        match peer.reserve("frank", 10, HOUR).await {
            Ok(reply) if reply.code() == OverLimit => None,
            reply => Some(reply),
        }
    });
    assert_eq!(later.await??.code(), Admitted);
    // A late commit, and one without a known reservation, count as well.
    peer.commit("frank", &lost.reservation_id, 2).await?;
    peer.commit("frank", "", 1).await?;
    peer.commit("frank", "unknown", 1).await?;
    assert_eq!(peer.used("frank").await?, 4);
    Ok(())
}

pub(crate) async fn request_without_limits_is_answered(peer: &Client) -> TestResult {
    let (mut envoy, mut kuadrant) = (peer.envoy.clone(), peer.kuadrant.clone());
    let no_domain = request("", "alice", 1);
    let reply = envoy.should_rate_limit(no_domain.clone()).await?;
    assert_eq!(reply.into_inner().overall_code(), Unknown);
    let reply = kuadrant.check_rate_limit(no_domain.clone()).await?;
    assert_eq!(reply.into_inner().overall_code(), Unknown);
    let reply = kuadrant.reserve(ReserveRequest::default()).await?;
    assert_eq!(reply.into_inner().code(), Unknown);

    let other_domain = request("another/domain", "alice", 1_000);
    let reply = envoy.should_rate_limit(other_domain).await?;
    assert_eq!(reply.into_inner().overall_code(), Admitted);
    let reply = kuadrant.reserve(ReserveRequest {
        domain: "another/domain".to_owned(),
        amount: 1_000,
        ..ReserveRequest::default()
    });
    let reply = reply.await?.into_inner();
    assert_eq!(reply.code(), Admitted);
    assert_eq!(reply.reservation_id, "");
    Ok(())
}

pub(crate) async fn first_hit_starts_window(peer: &Client) -> TestResult {
    let gold = RateLimitRequest {
        domain: DOMAIN.to_owned(),
        descriptors: vec![descriptor(&[("tier", "gold")])],
        hits_addend: 5,
    };
    let mut client = peer.envoy.clone();
    let reply = client.should_rate_limit(gold.clone()).await?;
    assert_eq!(reply.into_inner().overall_code(), Admitted);
    let again = wait::until("a new window", async || {
        match client.should_rate_limit(gold.clone()).await {
            Ok(reply) if reply.get_ref().overall_code() == OverLimit => None,
            reply => Some(reply),
        }
    });
    assert_eq!(again.await??.into_inner().overall_code(), Admitted);
    Ok(())
}

async fn answers_as_limitador_does(in_redis: bool) -> TestResult {
    let peer = Peer::start(in_redis).await?;
    checks_and_adds(&peer).await?;
    checks_and_reports(&peer).await?;
    reserves_and_commits(&peer).await?;
    uncommitted_reservation_expires(&peer).await?;
    request_without_limits_is_answered(&peer).await?;
    first_hit_starts_window(&peer).await
}

#[tokio::test]
async fn counters_in_memory_answer_as_limitador_does() -> TestResult {
    answers_as_limitador_does(false).await
}

#[tokio::test]
async fn counters_in_redis_answer_as_limitador_does() -> TestResult {
    answers_as_limitador_does(true).await
}

#[tokio::test]
async fn services_on_one_redis_share_counters() -> TestResult {
    let redis = Redis::start().await?;
    let start = async || {
        let builder = Limitador::builder(limits::parse(LIMITS)?).redis(&redis.url());
        Peer::of(builder.start().await?, None)
    };
    let (one, other) = (start().await?, start().await?);
    let reserved = one.reserve("alice", 6, HOUR).await?;
    assert_eq!(other.reserve("alice", 6, HOUR).await?.code(), OverLimit);
    other.commit("alice", &reserved.reservation_id, 4).await?;
    // A service that is started later reads the existing counters.
    drop(one);
    let third = start().await?;
    assert_eq!(third.used("alice").await?, 4);
    assert_eq!(third.reserve("alice", 6, HOUR).await?.code(), Admitted);
    Ok(())
}

#[tokio::test]
async fn lost_redis_makes_service_unavailable() -> TestResult {
    let mut peer = Peer::start(true).await?;
    peer.redis = None;
    let status = peer.check("alice", 1).await.expect_err("a failure");
    assert_eq!(status.code(), tonic::Code::Unavailable);
    let status = peer.reserve("alice", 1, HOUR).await;
    assert_eq!(
        status.expect_err("a failure").code(),
        tonic::Code::Unavailable
    );
    Ok(())
}

#[tokio::test]
async fn older_service_has_no_reservations() -> TestResult {
    let builder = Limitador::builder(limits::parse(LIMITS)?).without_reservations();
    let peer = Peer::of(builder.start().await?, None)?;
    lacks_reservations(&peer).await
}

pub(crate) async fn lacks_reservations(client: &Client) -> TestResult {
    let status = client.reserve("heidi", 1, HOUR).await;
    assert_eq!(status.expect_err("none").code(), tonic::Code::Unimplemented);
    let status = client.commit("heidi", "", 1).await;
    assert_eq!(status.expect_err("none").code(), tonic::Code::Unimplemented);
    assert_eq!(client.check("heidi", 1).await?, Admitted);
    assert_eq!(client.used("heidi").await?, 0);
    Ok(())
}

#[tokio::test]
async fn service_fails_on_command() -> TestResult {
    let peer = Peer::start(false).await?;
    let calls = peer.limitador.calls();
    calls.fail(Method::Report, Fault::Error(tonic::Code::Internal));
    let status = peer.report("alice", 5).await.expect_err("a failure");
    assert_eq!(status.code(), tonic::Code::Internal);
    // Other methods are served.
    assert_eq!(peer.check("alice", 1).await?, Admitted);

    calls.fail_all(Fault::WrongBytes);
    assert!(peer.check("alice", 1).await.is_err());
    calls.fail_all(Fault::Hang);
    let short = Duration::from_millis(50);
    let reply = tokio::time::timeout(short, peer.report("alice", 5)).await;
    assert!(reply.is_err(), "{reply:?}");
    calls.fail_all(Fault::Delay(short));
    assert_eq!(peer.report("alice", 5).await?, Admitted);
    calls.heal();

    peer.limitador.close().await;
    assert!(
        tokio::net::TcpStream::connect(peer.limitador.address())
            .await
            .is_err()
    );
    assert!(peer.check("alice", 1).await.is_err());
    peer.limitador.answer_wrong_bytes().await?;
    assert!(peer.check("alice", 1).await.is_err());
    peer.limitador.serve().await?;
    let check = wait::until("to be served again", async || {
        peer.check("alice", 1).await.ok()
    });
    assert_eq!(check.await?, Admitted);
    // Only one report had an effect.
    assert_eq!(peer.used("alice").await?, 5);
    assert_eq!(calls.count(Method::Report), 3);
    Ok(())
}

#[tokio::test]
async fn limits_and_counters_are_readable_over_http() -> TestResult {
    let peer = Peer::start(false).await?;
    peer.report("alice", 3).await?;
    describes_limits_and_counters(&peer).await
}

pub(crate) async fn describes_limits_and_counters(client: &Client) -> TestResult {
    let limits = client.get("limits").await?;
    assert_eq!(limits.len(), 2, "{limits:?}");
    let counters = client.get("counters").await?;
    let mut counters = counters.iter();
    let own = counters.find(|counter| counter["limit"]["name"] == "free");
    let own = own.expect("the counter");
    assert!(limits.contains(&own["limit"]), "{limits:?}");
    assert_eq!(own["remaining"], 7);
    assert!(
        own["expires_in_seconds"]
            .as_u64()
            .is_some_and(|seconds| seconds <= 3600)
    );
    let variable = r#"descriptors[0]["auth.identity.userid"]"#;
    assert_eq!(own["set_variables"][variable], "alice");
    Ok(())
}

#[tokio::test]
async fn service_reads_limits_that_tollgate_prints() -> TestResult {
    const POLICY: &[u8] = br#"
apiVersion: kuadrant.io/v1alpha1
kind: TokenRateLimitPolicy
metadata: { name: llm }
spec:
  targetRef: { group: gateway.networking.k8s.io, kind: Gateway, name: llm }
  limits:
    free:
      rates: [ { limit: 10, window: 1h } ]
      counters: [ { expression: "request.headers[\"x-user\"]" } ]
"#;
    let configuration = filter_config::parse_yaml(POLICY)?;
    let limits = filter_config::limitador::limits(&configuration, None).map_err(|_| "unfit")?;
    let yaml = serde_json::to_string(&limits)?;
    let peer = Peer::of(Limitador::start(&yaml).await?, None)?;
    let send = async |hits| {
        let entries = [(KEY, "1"), ("request.headers[\"x-user\"]", "alice")];
        let mut client = peer.envoy.clone();
        let reply = client.should_rate_limit(RateLimitRequest {
            domain: "default/llm".to_owned(),
            descriptors: vec![descriptor(&entries)],
            hits_addend: hits,
        });
        Ok::<_, Status>(reply.await?.into_inner().overall_code())
    };
    assert_eq!(send(10).await?, Admitted);
    assert_eq!(send(1).await?, OverLimit);
    assert_eq!(peer.used("alice").await?, 10);
    Ok(())
}
