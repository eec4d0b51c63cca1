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

#[test]
fn minor_version_is_its_newest() {
    assert_eq!(full_version("1.40"), Some(NEWEST));
    for known in VERSIONS {
        assert_eq!(full_version(known), Some(known));
        let minor = known.rsplit_once('.').map(|(minor, _)| minor);
        assert_eq!(minor.and_then(full_version), Some(known));
    }
}

#[test]
fn other_versions_are_taken_literally() {
    for version in ["1.36.2", "1.36.2.post1", "1.99.0"] {
        assert_eq!(full_version(version), Some(version));
    }
}

#[test]
fn malformed_version_is_rejected() {
    for version in [
        "",
        "1",
        "1.99",
        "latest",
        "1.40.",
        "1.40.x",
        "1.40.0 --pre",
        "1.40.0.a/b",
    ] {
        assert_eq!(full_version(version), None, "{version}");
    }
}
