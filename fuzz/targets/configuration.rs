//! Any configuration is taken or refused, with reasons.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Err(faults) = filter_config::parse(data) {
        assert!(!faults.to_string().is_empty());
    }
});
