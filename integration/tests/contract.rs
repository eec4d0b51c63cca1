//! The service answers as limitador does, whether its counters are in memory or in Redis.

use std::{error::Error, time::Duration};

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
use tonic::{Status, transport::Channel};

type Outcome = Result<(), Box<dyn Error>>;

const DOMAIN: &str = "default/llm";
const KEY: &str = "tokenlimit.free__6130666f";

/// Ten a minute for each user, and, for whoever is of the tier `gold`, five a second.
const LIMITS: &str = r#"
- name: free
  namespace: default/llm
  max_value: 10
  seconds: 60
  conditions: ['descriptors[0]["tokenlimit.free__6130666f"] == "1"']
  variables: ['descriptors[0]["auth.identity.userid"]']
- name: second
  namespace: default/llm
  max_value: 5
  seconds: 1
  conditions: ['descriptors[0]["tier"] == "gold"']
  variables: []
"#;

/// A service, and a client of it.
struct Peer {
    limitador: Limitador,
    envoy: EnvoyClient<Channel>,
    kuadrant: KuadrantClient<Channel>,
    redis: Option<Redis>,
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
        let address = format!("http://{}", limitador.address());
        let channel = Channel::from_shared(address)?.connect_lazy();
        Ok(Self {
            limitador,
            envoy: EnvoyClient::new(channel.clone()),
            kuadrant: KuadrantClient::new(channel),
            redis,
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
        let answer = client.check_rate_limit(request).await?;
        Ok(answer.into_inner().overall_code())
    }

    async fn report(&self, user: &str, hits: u32) -> Result<Code, Status> {
        let request = request(DOMAIN, user, hits);
        let mut client = self.kuadrant.clone();
        Ok(client.report(request).await?.into_inner().overall_code())
    }

    async fn reserve(
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

    /// What a user has used.
    async fn used(&self, user: &str) -> Result<u64, Box<dyn Error>> {
        let counters = self.limitador.counters(DOMAIN).await?;
        let mut counters = counters.iter();
        let own = counters.find(|counter| counter.variables.values().any(|value| value == user));
        Ok(own.map_or(0, |counter| counter.used))
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

const MINUTE: Duration = Duration::from_secs(60);

async fn checks_and_adds(peer: &Peer) -> Outcome {
    let mut answer = peer.should("alice", 4).await?;
    assert_eq!(answer.overall_code(), Admitted);
    answer
        .response_headers_to_add
        .retain(|header| header.key != "X-RateLimit-Reset");
    let headers = answer.response_headers_to_add.iter();
    let headers: Vec<_> = headers
        .map(|header| (header.key.as_str(), header.value.as_str()))
        .collect();
    assert_eq!(
        headers,
        [
            ("X-RateLimit-Limit", "10, 10;w=60;name=\"free\""),
            ("X-RateLimit-Remaining", "6"),
        ]
    );
    // What does not fit is not added; nothing is one.
    assert_eq!(peer.should("alice", 7).await?.overall_code(), OverLimit);
    assert_eq!(peer.should("alice", 0).await?.overall_code(), Admitted);
    assert_eq!(peer.should("alice", 5).await?.overall_code(), Admitted);
    assert_eq!(peer.should("alice", 0).await?.overall_code(), OverLimit);
    assert_eq!(peer.used("alice").await?, 10);
    assert_eq!(peer.should("bob", 10).await?.overall_code(), Admitted);
    Ok(())
}

async fn checks_and_reports(peer: &Peer) -> Outcome {
    // How many are asked for does not matter, and nothing is written.
    assert_eq!(peer.check("carol", 1_000).await?, Admitted);
    assert_eq!(peer.used("carol").await?, 0);
    assert_eq!(peer.report("carol", 8).await?, Admitted);
    assert_eq!(peer.report("carol", 0).await?, Admitted);
    assert_eq!(peer.check("carol", 1_000).await?, Admitted);
    // What is reported is added, whether it fits or not.
    assert_eq!(peer.report("carol", 30).await?, Admitted);
    assert_eq!(peer.check("carol", 0).await?, OverLimit);
    assert_eq!(peer.used("carol").await?, 10);
    Ok(())
}

async fn reserves_and_commits(peer: &Peer) -> Outcome {
    let first = peer.reserve("dave", 6, MINUTE).await?;
    assert_eq!(first.code(), Admitted);
    assert!(!first.reservation_id.is_empty());
    // What is held is taken, but only to those who reserve.
    assert_eq!(peer.reserve("dave", 5, MINUTE).await?.code(), OverLimit);
    assert_eq!(peer.check("dave", 1).await?, Admitted);
    assert_eq!(peer.used("dave").await?, 0);
    peer.commit("dave", &first.reservation_id, 3).await?;
    assert_eq!(peer.used("dave").await?, 3);
    let second = peer.reserve("dave", 7, MINUTE).await?;
    assert_eq!(second.code(), Admitted);
    peer.commit("dave", &second.reservation_id, 1).await?;
    assert_eq!(peer.used("dave").await?, 4);
    // More than the limit is never held, whatever is left.
    assert_eq!(peer.reserve("erin", 11, MINUTE).await?.code(), OverLimit);
    Ok(())
}

async fn forgets_what_nobody_commits(peer: &Peer) -> Outcome {
    let short = Duration::from_millis(200);
    let lost = peer.reserve("frank", 10, short).await?;
    assert_eq!(lost.code(), Admitted);
    let later = wait::until("the hold to expire", async || {
        match peer.reserve("frank", 10, MINUTE).await {
            Ok(answer) if answer.code() == OverLimit => None,
            answer => Some(answer),
        }
    });
    assert_eq!(later.await??.code(), Admitted);
    // A commit that comes late, or for nothing, counts all the same.
    peer.commit("frank", &lost.reservation_id, 2).await?;
    peer.commit("frank", "", 1).await?;
    peer.commit("frank", "nobody's", 1).await?;
    assert_eq!(peer.used("frank").await?, 4);
    Ok(())
}

async fn has_answers_without_limits(peer: &Peer) -> Outcome {
    let (mut envoy, mut kuadrant) = (peer.envoy.clone(), peer.kuadrant.clone());
    let nowhere = request("", "alice", 1);
    let answer = envoy.should_rate_limit(nowhere.clone()).await?;
    assert_eq!(answer.into_inner().overall_code(), Unknown);
    let answer = kuadrant.check_rate_limit(nowhere.clone()).await?;
    assert_eq!(answer.into_inner().overall_code(), Unknown);
    let answer = kuadrant.reserve(ReserveRequest::default()).await?;
    assert_eq!(answer.into_inner().code(), Unknown);

    let elsewhere = request("another/domain", "alice", 1_000);
    let answer = envoy.should_rate_limit(elsewhere).await?;
    assert_eq!(answer.into_inner().overall_code(), Admitted);
    let answer = kuadrant.reserve(ReserveRequest {
        domain: "another/domain".to_owned(),
        amount: 1_000,
        ..ReserveRequest::default()
    });
    let answer = answer.await?.into_inner();
    assert_eq!(answer.code(), Admitted);
    assert_eq!(answer.reservation_id, "");
    Ok(())
}

async fn begins_a_window_with_the_first_hit(peer: &Peer) -> Outcome {
    let gold = RateLimitRequest {
        domain: DOMAIN.to_owned(),
        descriptors: vec![descriptor(&[("tier", "gold")])],
        hits_addend: 5,
    };
    let mut client = peer.envoy.clone();
    let answer = client.should_rate_limit(gold.clone()).await?;
    assert_eq!(answer.into_inner().overall_code(), Admitted);
    let again = wait::until("a new window", async || {
        match client.should_rate_limit(gold.clone()).await {
            Ok(answer) if answer.get_ref().overall_code() == OverLimit => None,
            answer => Some(answer),
        }
    });
    assert_eq!(again.await??.into_inner().overall_code(), Admitted);
    Ok(())
}

async fn keeps_the_contract(in_redis: bool) -> Outcome {
    let peer = Peer::start(in_redis).await?;
    checks_and_adds(&peer).await?;
    checks_and_reports(&peer).await?;
    reserves_and_commits(&peer).await?;
    forgets_what_nobody_commits(&peer).await?;
    has_answers_without_limits(&peer).await?;
    begins_a_window_with_the_first_hit(&peer).await
}

#[tokio::test]
async fn in_memory() -> Outcome {
    keeps_the_contract(false).await
}

#[tokio::test]
async fn in_redis() -> Outcome {
    keeps_the_contract(true).await
}

#[tokio::test]
async fn services_on_one_redis_count_together() -> Outcome {
    let redis = Redis::start().await?;
    let start = async || {
        let builder = Limitador::builder(limits::parse(LIMITS)?).redis(&redis.url());
        Peer::of(builder.start().await?, None)
    };
    let (one, other) = (start().await?, start().await?);
    let held = one.reserve("alice", 6, MINUTE).await?;
    assert_eq!(other.reserve("alice", 6, MINUTE).await?.code(), OverLimit);
    other.commit("alice", &held.reservation_id, 4).await?;
    // One that is started later finds what there is.
    drop(one);
    let third = start().await?;
    assert_eq!(third.used("alice").await?, 4);
    assert_eq!(third.reserve("alice", 6, MINUTE).await?.code(), Admitted);
    Ok(())
}

#[tokio::test]
async fn without_its_redis_it_is_unavailable() -> Outcome {
    let mut peer = Peer::start(true).await?;
    peer.redis = None;
    let status = peer.check("alice", 1).await.expect_err("a failure");
    assert_eq!(status.code(), tonic::Code::Unavailable);
    let status = peer.reserve("alice", 1, MINUTE).await;
    assert_eq!(
        status.expect_err("a failure").code(),
        tonic::Code::Unavailable
    );
    Ok(())
}

#[tokio::test]
async fn an_older_one_has_no_reservations() -> Outcome {
    let builder = Limitador::builder(limits::parse(LIMITS)?).without_reservations();
    let peer = Peer::of(builder.start().await?, None)?;
    let status = peer.reserve("alice", 1, MINUTE).await;
    assert_eq!(status.expect_err("none").code(), tonic::Code::Unimplemented);
    let status = peer.commit("alice", "", 1).await;
    assert_eq!(status.expect_err("none").code(), tonic::Code::Unimplemented);
    assert_eq!(peer.check("alice", 1).await?, Admitted);
    Ok(())
}

#[tokio::test]
async fn it_fails_on_command() -> Outcome {
    let peer = Peer::start(false).await?;
    let calls = peer.limitador.calls();
    calls.fail(Method::Report, Fault::Error(tonic::Code::Internal));
    let status = peer.report("alice", 5).await.expect_err("a failure");
    assert_eq!(status.code(), tonic::Code::Internal);
    // Other methods do not fail.
    assert_eq!(peer.check("alice", 1).await?, Admitted);

    calls.fail_all(Fault::WrongBytes);
    assert!(peer.check("alice", 1).await.is_err());
    calls.fail_all(Fault::Hang);
    let short = Duration::from_millis(50);
    let answer = tokio::time::timeout(short, peer.report("alice", 5)).await;
    assert!(answer.is_err(), "{answer:?}");
    calls.fail_all(Fault::Delay(short));
    assert_eq!(peer.report("alice", 5).await?, Admitted);
    calls.heal();

    peer.limitador.refuse().await;
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
    // Only one report has had an effect.
    assert_eq!(peer.used("alice").await?, 5);
    assert_eq!(calls.count(Method::Report), 3);
    Ok(())
}

#[tokio::test]
async fn limits_and_counters_can_be_read_over_http() -> Outcome {
    let peer = Peer::start(false).await?;
    peer.report("alice", 3).await?;
    let get = async |what: &str| {
        let url = format!("http://{}/{what}/{DOMAIN}", peer.limitador.address());
        reqwest::get(url).await?.json::<serde_json::Value>().await
    };
    let limits = get("limits").await?;
    assert_eq!(limits.as_array().map(Vec::len), Some(2), "{limits}");
    let counters = get("counters").await?;
    let counters = counters.as_array().expect("a list");
    let own = counters.iter().find(|counter| counter["limit"] == "free");
    let own = own.expect("the counter");
    assert_eq!(own["remaining"], 7);
    let variable = r#"descriptors[0]["auth.identity.userid"]"#;
    assert_eq!(own["set_variables"][variable], "alice");
    Ok(())
}

#[tokio::test]
async fn what_tollgate_prints_is_what_the_service_reads() -> Outcome {
    const POLICY: &[u8] = br#"
apiVersion: kuadrant.io/v1alpha1
kind: TokenRateLimitPolicy
metadata: { name: llm }
spec:
  targetRef: { group: gateway.networking.k8s.io, kind: Gateway, name: llm }
  limits:
    free:
      rates: [ { limit: 10, window: 1m } ]
      counters: [ { expression: "request.headers[\"x-user\"]" } ]
"#;
    let configuration = filter_config::parse_yaml(POLICY)?;
    let limits = filter_config::limitador::limits(&configuration, None).map_err(|_| "unfit")?;
    let yaml = serde_json::to_string(&limits)?;
    let peer = Peer::of(Limitador::start(&yaml).await?, None)?;
    let ask = async |hits| {
        let entries = [(KEY, "1"), ("request.headers[\"x-user\"]", "alice")];
        let mut client = peer.envoy.clone();
        let answer = client.should_rate_limit(RateLimitRequest {
            domain: "default/llm".to_owned(),
            descriptors: vec![descriptor(&entries)],
            hits_addend: hits,
        });
        Ok::<_, Status>(answer.await?.into_inner().overall_code())
    };
    assert_eq!(ask(10).await?, Admitted);
    assert_eq!(ask(1).await?, OverLimit);
    assert_eq!(peer.used("alice").await?, 10);
    Ok(())
}
