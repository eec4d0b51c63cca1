//! The container image from which Istio loads the module, as `make image` builds it.

use std::{
    error::Error,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use envoy_test::workspace;
use flate2::read::GzDecoder;
use serde_json::Value;

use crate::support::TestResult;

fn run(command: &mut Command) -> Result<Vec<u8>, Box<dyn Error>> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

fn untar(archive: &Path, to: &Path) -> TestResult {
    fs::create_dir_all(to)?;
    run(Command::new("tar")
        .arg("-xf")
        .arg(archive)
        .arg("-C")
        .arg(to))?;
    Ok(())
}

fn json(path: &Path) -> Result<Value, Box<dyn Error>> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

fn digest(path: &Path) -> Result<String, Box<dyn Error>> {
    let output = run(Command::new("sha256sum").arg(path))?;
    let output = String::from_utf8(output)?;
    let (digest, _) = output.split_once(' ').ok_or("no digest")?;
    Ok(format!("sha256:{digest}"))
}

/// The path of the file that a descriptor names, after comparing its type, digest and size.
fn blob(layout: &Path, descriptor: &Value, media_type: &str) -> Result<PathBuf, Box<dyn Error>> {
    assert_eq!(descriptor["mediaType"], media_type);
    let named = descriptor["digest"].as_str().ok_or("no digest")?;
    let hash = named.strip_prefix("sha256:").ok_or("no SHA-256")?;
    let path = layout.join("blobs/sha256").join(hash);
    assert_eq!(digest(&path)?, named);
    assert_eq!(descriptor["size"], fs::metadata(&path)?.len());
    Ok(path)
}

#[test]
fn image_has_module_in_its_only_layer() -> TestResult {
    let folder = tempfile::tempdir()?;
    let [module, image, layout, root] =
        ["module", "image.tar", "layout", "root"].map(|name| folder.path().join(name));
    // Any bytes will do.
    fs::write(&module, b"\0asm\x01\0\0\0")?;
    let make = || {
        let script = workspace::root().join("build/image.sh");
        run(Command::new(script).arg(&module).arg(&image))
    };
    make()?;
    let first = fs::read(&image)?;
    make()?;
    assert_eq!(first, fs::read(&image)?, "the same module, the same image");

    untar(&image, &layout)?;
    assert_eq!(
        json(&layout.join("oci-layout"))?["imageLayoutVersion"],
        "1.0.0"
    );
    let index = json(&layout.join("index.json"))?;
    let entry = &index["manifests"][0];
    assert_eq!(
        entry["annotations"]["org.opencontainers.image.ref.name"],
        env!("CARGO_PKG_VERSION")
    );
    let manifest = blob(&layout, entry, "application/vnd.oci.image.manifest.v1+json")?;
    let manifest = json(&manifest)?;
    assert_eq!(
        manifest["annotations"]["module.wasm.image/variant"],
        "compat"
    );
    let config = blob(
        &layout,
        &manifest["config"],
        "application/vnd.oci.image.config.v1+json",
    )?;
    let layers = manifest["layers"].as_array().ok_or("no layers")?;
    assert_eq!(layers.len(), 1);
    let layer = blob(
        &layout,
        &layers[0],
        "application/vnd.oci.image.layer.v1.tar+gzip",
    )?;

    let mut content = Vec::new();
    GzDecoder::new(fs::File::open(layer)?).read_to_end(&mut content)?;
    let archive = folder.path().join("layer.tar");
    fs::write(&archive, content)?;
    let listed = &json(&config)?["rootfs"]["diff_ids"];
    assert_eq!(listed, &serde_json::json!([digest(&archive)?]));
    untar(&archive, &root)?;
    assert_eq!(fs::read(root.join("plugin.wasm"))?, fs::read(&module)?);
    Ok(())
}
