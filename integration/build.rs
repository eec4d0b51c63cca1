//! Compiles limitador's protocol. The messages of Envoy in it come from `envoy-types`.

use std::{error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let includes = Path::new("proto");
    let service = includes.join("kuadrant/service/ratelimit/v1/ratelimit.proto");
    println!("cargo::rerun-if-changed={}", includes.display());
    let descriptors = protox::compile([&service], [includes])?;
    let mut builder = tonic_prost_build::configure();
    for package in [
        "envoy.extensions.common.ratelimit.v3",
        "envoy.service.ratelimit.v3",
    ] {
        let module = package.replace('.', "::");
        builder = builder.extern_path(
            format!(".{package}"),
            format!("::envoy_types::pb::{module}"),
        );
    }
    builder.compile_fds(descriptors)?;
    Ok(())
}
