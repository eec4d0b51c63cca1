use clap::Parser;

use super::{Address, Cidr, Jwks, Label, Module, Name, Options, Sha256, Upstream};

fn address(host: &str, port: u16) -> Address {
    Address {
        host: host.to_owned(),
        port,
    }
}

fn server(host: &str, port: u16, is_tls: bool) -> Upstream {
    Upstream {
        address: address(host, port),
        is_tls,
    }
}

#[test]
fn addresses_have_host_and_port() {
    for (text, host, port) in [
        ("limitador:8081", "limitador", 8081),
        ("10.0.0.1:80", "10.0.0.1", 80),
        ("[::1]:8081", "::1", 8081),
    ] {
        let parsed: Address = text.parse().unwrap();
        assert_eq!(parsed, address(host, port));
        assert_eq!(parsed.to_string(), text);
    }
    for text in [
        "limitador",
        ":80",
        "a:",
        "a:b",
        "a:70000",
        "::1:80",
        "[::1]",
        "a b:80",
        "a\n:80",
    ] {
        assert!(text.parse::<Address>().is_err(), "{text}");
    }
}

#[test]
fn listeners_have_ip_addresses() {
    let parse = |text: &str| {
        let flags = ["render", "--to", "envoy", "--config", "-", "--listen", text];
        Options::try_parse_from(flags).map_err(|error| error.to_string())
    };
    for (text, host) in [
        ("127.0.0.1:8080", "127.0.0.1"),
        ("0.0.0.0:0", "0.0.0.0"),
        ("[::]:443", "::"),
    ] {
        assert_eq!(parse(text).unwrap().listen.host, host);
    }
    for (text, expected) in [
        ("localhost:8080", "an IP address and a port"),
        ("10.0.0.999:80", "an IP address and a port"),
        ("8080", "an IP address and a port"),
        ("0.0.0.0:70000", "a port of at most 65535"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(
            error.contains(&format!(
                "for '--listen <ADDRESS:PORT>': expected {expected}"
            )),
            "{error}"
        );
    }
    let error = "limitador:70000".parse::<Address>().unwrap_err();
    assert_eq!(error.to_string(), "expected a port of at most 65535");
}

#[test]
fn upstreams_have_scheme_and_host() {
    for (text, expected) in [
        ("http://vllm:8000", server("vllm", 8000, false)),
        ("http://vllm/", server("vllm", 80, false)),
        (
            "https://api.openai.com",
            server("api.openai.com", 443, true),
        ),
        ("https://[::1]:8443", server("::1", 8443, true)),
    ] {
        assert_eq!(text.parse::<Upstream>().unwrap(), expected);
    }
    for text in [
        "vllm:8000",
        "https://",
        "ftp://a",
        "https://api.openai.com/v1",
        "http://a:b",
    ] {
        assert!(text.parse::<Upstream>().is_err(), "{text}");
    }
    let error = "http://vllm:8000/v1".parse::<Upstream>().unwrap_err();
    assert!(error.to_string().contains("without a path"), "{error}");
    let error = "http://vllm:70000".parse::<Upstream>().unwrap_err();
    assert_eq!(error.to_string(), "expected a port of at most 65535");
}

#[test]
fn modules_are_paths_images_or_urls() {
    for (text, expected) in [
        (
            "/etc/tollgate.wasm",
            Module::Path("/etc/tollgate.wasm".to_owned()),
        ),
        (
            "file:///etc/tollgate.wasm",
            Module::Path("/etc/tollgate.wasm".to_owned()),
        ),
        (
            "oci://registry/tollgate:0.1.0",
            Module::Image("registry/tollgate:0.1.0".to_owned()),
        ),
        (
            "https://host/a.wasm",
            Module::Url("https://host/a.wasm".to_owned()),
        ),
    ] {
        assert_eq!(text.parse::<Module>().unwrap(), expected);
    }
    for text in [
        "",
        "tollgate.wasm",
        "registry/tollgate",
        "oci://tollgate",
        "s3://a/b",
        "file://a",
        "https://",
        "/a b",
    ] {
        assert!(text.parse::<Module>().is_err(), "{text}");
    }
}

#[test]
fn keys_are_files_or_at_servers() {
    let url = "https://issuer.example.com/keys/jwks.json";
    let expected = Jwks::Url(url.to_owned(), server("issuer.example.com", 443, true));
    assert_eq!(url.parse::<Jwks>().unwrap(), expected);
    assert_eq!(
        "/jwks.json".parse::<Jwks>().unwrap(),
        Jwks::Path("/jwks.json".to_owned())
    );
    assert!("jwks.json".parse::<Jwks>().is_err());
}

#[test]
fn ranges_have_prefixes() {
    for (text, expected) in [
        ("10.1.0.0/16", "10.1.0.0/16"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("fd00::/8", "fd00::/8"),
        ("::1", "::1/128"),
    ] {
        assert_eq!(text.parse::<Cidr>().unwrap().to_string(), expected);
    }
    for text in ["10.1.0.0/33", "10.1/16", "a", "10.1.0.0/"] {
        assert!(text.parse::<Cidr>().is_err(), "{text}");
    }
}

#[test]
fn names_labels_and_digests_are_those_of_kubernetes() {
    for text in ["", "A", "a_b", "-a", "a-", "a..b", &"a".repeat(254)] {
        assert!(text.parse::<Name>().is_err(), "{text}");
    }
    assert!("llm-gateway.eu".parse::<Name>().is_ok());
    for text in ["a", "=b", "a=b c", &format!("a={}", "b".repeat(64))] {
        assert!(text.parse::<Label>().is_err(), "{text}");
    }
    assert!(
        "gateway.networking.k8s.io/gateway-name=llm"
            .parse::<Label>()
            .is_ok()
    );
    let digest = "0123456789abcdef".repeat(4);
    assert_eq!(
        format!("sha256:{digest}").parse::<Sha256>().unwrap().0,
        digest
    );
    for text in ["0123", &digest.to_uppercase(), &format!("{digest}0")] {
        assert!(text.parse::<Sha256>().is_err(), "{text}");
    }
}

#[test]
fn lists_are_separated_by_commas() {
    let options = Options::try_parse_from([
        "render",
        "--to",
        "envoy",
        "--config",
        "-",
        "--trusted-proxy",
        "10.0.0.0/8,::1",
        "--selector",
        "a=b,c=d",
    ]);
    let options = options.unwrap();
    assert_eq!(
        (options.trusted_proxy.len(), options.selector.len()),
        (2, 2)
    );
}
