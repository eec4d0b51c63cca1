use super::narrowed;

#[test]
fn costly_codings_are_not_accepted() {
    for (values, expected) in [
        (&[][..], None),
        (&[""], None),
        (&["gzip"], None),
        (&["gzip;q=0.5, identity"], None),
        (&["br;q=0, gzip"], None),
        (&["gzip, deflate, br, zstd"], Some("gzip")),
        (&["gzip", "br"], Some("gzip")),
        (&["BR, X-GZIP;Q=0.1"], Some("gzip")),
        (&["*"], Some("gzip")),
        (&["br;q=1.0, *;q=0.1"], Some("gzip")),
        (&["br, gzip ; q = 1"], Some("gzip")),
        (&["br, gzip, identity;q=0"], Some("gzip, identity;q=0")),
        (&["br, gzip, *;q=0"], Some("gzip, identity;q=0")),
        (&["br"], Some("identity")),
        (&["zstd, gzip;q=0"], Some("identity")),
        (&["gzip;q=0.000, *"], Some("identity")),
        // Nothing else is acceptable.
        (&["br, identity;q=0"], None),
        (&["br, *;q=0"], None),
    ] {
        let found = narrowed(values.iter().map(|value| value.as_bytes()));
        assert_eq!(found, expected, "{values:?}");
    }
}
