//! Configuration files as they are shipped: Envoy itself reads them, and `tollgate check` reads them in the same way.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use envoy_test::{binary, workspace};
use filter_config::parse_carried;

/// Scalars of YAML, as items of a list in flow style.
const SCALARS: &str = r#"
  0.8, -0.5, 5., .5, 1.0, 1e3, .inf, 42, +5, -5, 0, 00, 2147483647, 2147483648, -2147483648, -2147483649,
  9223372036854775807, 9223372036854775808, 0x1F, 0XAB, -0x10, 0x, 010, 08, 0o17, 0b11, 1_000, ++5, 1:30, 2026-01-01,
  y, Y, yes, Yes, YES, yEs, on, On, oN, true, TRUE, tRUE, n, no, off, false, null, Null, ~, nULL,
  "5", '5', "yes", "null", "", ! 5, !!str 5, !!int "5", !!bool "yes", !foo 5
"#;

/// Returns the Envoy configurations of the examples.
fn envoy_files() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    let mut directories = vec![workspace::root().join("examples")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.ends_with("envoy.yaml") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Returns what Envoy says of a file: it loads the modules that the file names, and starts nothing.
pub(crate) fn validate(file: &Path) -> Result<Output, Box<dyn Error>> {
    let mut envoy = Command::new(&binary::find()?.path);
    envoy.args(["--mode", "validate", "--log-format", "%v", "-c"]);
    Ok(envoy.arg(file).output()?)
}

/// Writes a file as shipped, but for the directory that it expects the module and other files in.
fn installed(yaml: &str, file: &Path, directory: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let etc = directory.join("etc");
    fs::create_dir_all(&etc)?;
    fs::copy(workspace::module(), etc.join("tollgate.wasm"))?;
    for entry in fs::read_dir(file)? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            fs::copy(&path, etc.join(name))?;
        }
    }
    let path = directory.join("envoy.yaml");
    fs::write(
        &path,
        yaml.replace("/etc/envoy/", &format!("{}/", etc.display())),
    )?;
    Ok(path)
}

#[test]
fn examples_normalize_paths() -> Result<(), Box<dyn Error>> {
    let files = envoy_files()?;
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let yaml = fs::read_to_string(&file)?;
        for setting in [
            "normalize_path: true",
            "merge_slashes: true",
            "path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT",
        ] {
            assert!(yaml.contains(setting), "{}: {setting}", file.display());
        }
    }
    Ok(())
}

#[test]
fn examples_are_valid_in_envoy_as_shipped() -> Result<(), Box<dyn Error>> {
    let files = envoy_files()?;
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let yaml = fs::read_to_string(&file)?;
        let configuration = parse_carried(yaml.as_bytes());
        assert!(configuration.is_ok(), "{file:?}: {configuration:?}");
        let directory = tempfile::tempdir()?;
        let example = file.parent().unwrap_or(&file);
        let output = validate(&installed(&yaml, example, directory.path())?)?;
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{file:?}: {log}");
    }
    Ok(())
}

#[test]
fn check_reads_scalars_as_envoy_does() -> Result<(), Box<dyn Error>> {
    let example = workspace::root().join("examples/envoy");
    let scalars = SCALARS.lines().collect::<String>();
    let yaml = format!(
        r#"
static_resources:
  listeners:
  - name: gateway
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          route_config: {{}}
          http_filters:
          - name: tollgate
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                configuration:
                  "@type": type.googleapis.com/google.protobuf.Struct
                  value: {{ policies: [ {scalars} ] }}
                vm_config:
                  runtime: envoy.wasm.runtime.v8
                  code: {{ local: {{ filename: /etc/envoy/tollgate.wasm }} }}
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
"#
    );
    let of_items = |report: &str| -> Vec<String> {
        let lines = report.lines().filter_map(|line| {
            let (_, item) = line.split_once("policies[")?;
            Some(format!("policies[{item}"))
        });
        lines.collect()
    };
    let errors = parse_carried(yaml.as_bytes()).unwrap_err();
    let of_check = of_items(&errors.to_string());
    assert_eq!(of_check.len(), 60, "{of_check:#?}");
    let directory = tempfile::tempdir()?;
    let output = validate(&installed(&yaml, &example, directory.path())?)?;
    assert!(!output.status.success());
    assert_eq!(of_items(&String::from_utf8_lossy(&output.stderr)), of_check);
    Ok(())
}
