use super::Profile;

const SCRIPT: &str = "
          5581 [unknown]
          3a10 wasm:tollgate::host::abi::Abi::now
          3a90 wasm:proxy_on_log
          5590 [unknown]

          3a95 wasm:proxy_on_log
          5590 [unknown]

          5599 [unknown]
";

#[test]
fn samples_of_module_and_calls_are_counted() {
    let profile = Profile::read(SCRIPT);
    assert_eq!(
        (profile.samples, profile.in_module, profile.in_calls),
        (3, 1, 1)
    );
    assert_eq!(profile.functions["proxy_on_log"], (1, 2));
    let tables = profile.markdown();
    for row in [
        "| in the module | 33.3 % |",
        "| `tollgate::host::abi::Abi::now` | 33.3 % |",
        "| `proxy_on_log` | 33.3 % | 66.7 % |",
    ] {
        assert!(tables.contains(row), "{tables}");
    }
}
