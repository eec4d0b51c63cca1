use super::*;

#[test]
fn reads_the_version_that_envoy_prints() {
    let output = "envoy  version: 9e558093/1.40.0/Clean/RELEASE/BoringSSL\n";
    assert_eq!(parse_version(output), Some("1.40.0"));
}

#[test]
fn a_program_that_is_no_envoy_has_no_version() {
    assert_eq!(parse_version("GNU coreutils 9.1"), None);
    assert!(probe(Path::new("true")).is_err());
    assert!(probe(Path::new("/nonexistent/envoy")).is_err());
}
