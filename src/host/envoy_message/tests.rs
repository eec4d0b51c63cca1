use super::*;

#[test]
fn long_cluster_name_round_trips() {
    for length in [1, 125, 126, 127, 128, 200, 1_024] {
        let name = "c".repeat(length);
        let message = GrpcService::decode(grpc_service(&name).as_slice()).unwrap();
        let service = message.envoy_grpc.unwrap();
        assert_eq!(
            (service.cluster_name, service.authority),
            (name, String::new())
        );
    }
}

#[test]
fn istio_cluster_has_host_as_authority() {
    let cluster = "outbound|8081|v1|limitador.kuadrant-system.svc.cluster.local";
    let message = GrpcService::decode(grpc_service(cluster).as_slice()).unwrap();
    let service = message.envoy_grpc.unwrap();
    assert_eq!(service.cluster_name, cluster);
    assert_eq!(
        service.authority,
        "limitador.kuadrant-system.svc.cluster.local"
    );
}

#[test]
fn cluster_name_is_nested_and_replies_bounded() {
    let bound = b"\x22\x04\x08\x80\x80\x04";
    let service = [b"\n\x0d\n\x05empty".as_slice(), bound].concat();
    assert_eq!(grpc_service("empty"), service);
}

#[test]
fn declared_filter_state_lives_as_long_as_request() {
    // The field `span` has the number 5, the life span of a request the number 1.
    assert_eq!(
        declaration("key", FilterState::OfRequest),
        b"\n\x03key\x28\x01"
    );
}

#[test]
fn filter_state_arguments_round_trip() {
    let value = [b'7'; 200];
    let message = filter_state_arguments("envoy.ratelimit.hits_addend", &value);
    let message = SetEnvoyFilterStateArguments::decode(message.as_slice()).unwrap();
    assert_eq!(message.path, "envoy.ratelimit.hits_addend");
    assert_eq!(message.value, value);
}

#[test]
fn record_is_declared_as_struct() {
    let arguments = declaration("a", FilterState::Record);
    // `name` = 1, `type` = 3: 3 (a protocol buffer), `schema` = 4.
    let mut expected = b"\x0a\x01a\x18\x03\x22\x2a".to_vec();
    expected.extend_from_slice(b"type.googleapis.com/google.protobuf.Struct");
    assert_eq!(arguments, expected);
}
