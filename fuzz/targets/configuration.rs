//! Any bytes are a configuration or have validation errors.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Err(errors) = filter_config::parse(data) {
        assert!(!errors.to_string().is_empty());
    }
});
