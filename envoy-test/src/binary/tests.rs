use super::*;

#[test]
fn version_of_envoy_is_parsed() {
    let output = "envoy  version: 9e558093/1.40.0/Clean/RELEASE/BoringSSL\n";
    assert_eq!(parse_version(output), Some("1.40.0"));
}

#[test]
fn other_programs_have_no_version() {
    assert_eq!(parse_version("GNU coreutils 9.1"), None);
    assert!(probe(Path::new("true")).is_err());
    assert!(probe(Path::new("/nonexistent/envoy")).is_err());
}
