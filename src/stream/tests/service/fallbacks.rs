//! Fallbacks that a service decides on.

use crate::host::HeaderMap;
use crate::stream::Next;
use crate::stream::tests::harness::{header, send};
use crate::stream::tests::service::harness::{CHECK, RESERVE, with_fallbacks};
use limits::service::CallId;
use limits::service::mock::entries;

#[test]
fn first_fallback_that_fits_is_taken() {
    for storage in [RESERVE, CHECK] {
        let mut gateway = with_fallbacks(storage);
        assert_eq!(gateway.request_large("", 60), "admitted", "{storage}");
        assert_eq!(gateway.request_large("", 12), "alternative", "{storage}");
        assert_eq!(gateway.sent(), r#"{"model":"middle","max_tokens":1}"#);
        assert_eq!(gateway.request_large("", 60), "alternative", "{storage}");
        assert_eq!(gateway.sent(), r#"{"model":"small","max_tokens":1}"#);
        let header = |map, name: &str| header(&gateway.envoy, map, name);
        assert_eq!(header(HeaderMap::Request, "x-to").as_deref(), Some("b"));
        let length = header(HeaderMap::Request, "content-length");
        assert_eq!(length.as_deref(), Some("32"));
        let fallback = header(HeaderMap::Response, "x-tollgate-alternative");
        assert_eq!(fallback.as_deref(), Some("small"));
        let limit = gateway.envoy.state("tollgate.limit");
        assert_eq!(limit.as_deref(), Some("large"));

        let was_checked = gateway.was_checked();
        assert_eq!(gateway.request_large("", 1), "denied", "{storage}");
        assert!(
            gateway.was_checked() <= was_checked + 6,
            "each is tried once"
        );
        assert_eq!(gateway.sent(), r#"{"model":"large","max_tokens":1}"#);
        let reply = gateway.envoy.host.replies.borrow()[0].clone();
        assert!(reply.body.contains("large"), "{}", reply.body);

        let used = |model: &str| -> u64 {
            let used = gateway.limitador.used.iter();
            let of_model = used.filter(|((_, descriptor), _)| {
                let (key, _) = &entries(descriptor)[0];
                key.contains(model)
            });
            of_model.map(|(_, used)| used).sum()
        };
        let used = ["large", "middle", "small"].map(used);
        assert_eq!(used, [60, 12, 60], "each is counted where it went");
        assert!(gateway.limitador.reserved.is_empty(), "{storage}");
    }
}

#[test]
fn disconnect_during_fallback_releases_reservation() {
    let mut gateway = with_fallbacks(RESERVE);
    gateway.request_large("", 60);
    let mut stream = gateway.envoy.stream();
    let body = r#"{"model":"large","max_tokens":1}"#;
    assert_eq!(send(&gateway.envoy, &mut stream, body), Next::Pause);
    // The first is rejected; the next check is about another model.
    gateway.answered += 1;
    let token = u32::try_from(gateway.answered).unwrap();
    let answered = gateway
        .envoy
        .plugin
        .on_reply(CallId(token), Ok(&[8, 2]))
        .unwrap();
    stream.on_check_reply(answered);
    assert_eq!(gateway.methods().last().unwrap(), "Reserve");
    stream.on_log();
    drop(stream);
    gateway.answer(&mut None);
    assert!(gateway.limitador.reserved.is_empty());
    assert_eq!(gateway.limitador.total(), 60);
    assert_eq!((gateway.resumed(), gateway.replies()), (1, 0));
    assert_eq!(gateway.request_large("", 12), "alternative");
}

#[test]
fn usage_of_fallback_is_requested_once() {
    let mut gateway = with_fallbacks(RESERVE);
    gateway.request_large("", 60);
    gateway.limitador.limits[1].1 = 0;
    assert_eq!(gateway.request_large(r#","stream":true"#, 1), "alternative");
    assert_eq!(
        gateway.sent(),
        r#"{"stream_options":{"include_usage":true},"model":"small","max_tokens":1,"stream":true}"#
    );
    let length = header(&gateway.envoy, HeaderMap::Request, "content-length");
    assert_eq!(length, Some(gateway.sent().len().to_string()));
}

#[test]
fn failure_mode_decides_on_fallbacks() {
    for (mode, decision, model) in [
        ("local", "alternative", "middle"),
        ("allow", "failed_open", "large"),
    ] {
        let storage = RESERVE.replace('}', &format!(r#", "failureMode": "{mode}" }}"#));
        let mut gateway = with_fallbacks(&storage);
        gateway.request_large("", 60);
        let mut stream = gateway.envoy.stream();
        let body = r#"{"model":"large","max_tokens":1}"#;
        send(&gateway.envoy, &mut stream, body);
        let mut stream = Some(stream);
        gateway.answer_by(&mut stream, &mut |call| {
            (call.method == "Reserve").then_some(Err(14))
        });
        assert!(gateway.sent().contains(model), "{mode}");
        gateway.end(&mut stream.unwrap(), 7);
        let decided = gateway.envoy.state("tollgate.decision");
        assert_eq!(decided.as_deref(), Some(decision), "{mode}");
    }
}
