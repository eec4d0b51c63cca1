use super::{Functions, code, demangled, targets};

/// A module with an imported function, and two of its own that have names.
const MODULE: &[u8] = b"\0asm\x01\0\0\0\
    \x01\x04\x01\x60\0\0\
    \x02\x07\x01\x01m\x01i\0\0\
    \x03\x03\x02\0\0\
    \x0a\x07\x02\x02\0\x0b\x02\0\x0b\
    \0\x17\x04name\x01\x10\x02\x01\x05first\x02\x06second";

#[test]
fn functions_have_names_of_the_module() {
    let functions = Functions::read(MODULE).expect("a valid module");
    assert_eq!(functions.names, ["first", "second"]);
    assert!(Functions::read(b"\0asm").is_err());
}

#[test]
fn mangled_names_become_source_names() {
    let name = "_ZN6limits5local10LocalStore6settle17h0123456789abcdefE";
    assert_eq!(demangled(name), "limits::local::LocalStore::settle");
    assert_eq!(demangled("memcmp"), "memcmp");
}

#[test]
fn jumps_lead_to_functions() {
    let mut table = vec![0xe9, 0x0b, 0, 0, 0, 0xcc, 0xcc, 0xcc];
    table.extend([0xe9, 0xfb, 0xff, 0xff, 0xff, 0xcc, 0xcc, 0xcc]);
    assert_eq!(targets(&table, 0x1000), Some(vec![0x1010, 0x1008]));
    table[8] = 0x90;
    assert_eq!(targets(&table, 0x1000), None);
}

#[test]
fn code_of_files_is_left_out() {
    assert_eq!(
        code("1000-2000 r-xp 00000000 00:00 0 "),
        Some((0x1000, 0x2000))
    );
    assert_eq!(code("1000-2000 rw-p 00000000 00:00 0 "), None);
    assert_eq!(code("1000-2000 r-xp 00000000 08:01 7 /usr/bin/envoy"), None);
}
