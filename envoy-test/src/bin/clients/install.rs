//! The installation of the SDKs, below the workspace's `.cache`.

use std::{
    error::Error,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use envoy_test::{command::run, debian, python, workspace};

/// The oldest version of Node that the packages run with.
const MIN_NODE: u32 = 20;

/// The scripts of a language with the packages that they need.
#[derive(Debug)]
pub(crate) enum Installation {
    /// They can run.
    Ready {
        interpreter: PathBuf,
        /// The directory of the scripts.
        scripts: PathBuf,
    },
    /// Why they cannot, although nothing is wrong with them.
    Unavailable(String),
}

/// Installs what the scripts in Python need.
pub(crate) fn python() -> Result<Installation, Box<dyn Error>> {
    let scripts = sources().join("python");
    let directory = workspace::cache().join("clients/python");
    let requirements = scripts.join("requirements.txt");
    let _lock = workspace::lock(&directory)?;
    let stamp = Stamp::new(&directory, &[&requirements])?;
    let interpreter = directory.join("bin/python");
    if !stamp.is_current() {
        eprintln!("installing the packages of PyPI in {}", directory.display());
        python::environment(&directory)?;
        let arguments: [&OsStr; 6] = [
            "--retries".as_ref(),
            "2".as_ref(),
            "--no-deps".as_ref(),
            "--only-binary=:all:".as_ref(),
            "--requirement".as_ref(),
            requirements.as_ref(),
        ];
        if let Err(error) = python::pip_install(&interpreter, &arguments) {
            return match python_registry(&interpreter, &directory) {
                Ok(()) => Err(error.into()),
                Err(reason) => Ok(Installation::Unavailable(format!(
                    "PyPI does not answer: {reason}"
                ))),
            };
        }
        stamp.write()?;
    }
    Ok(Installation::Ready {
        interpreter,
        scripts,
    })
}

/// Downloads a small package.
fn python_registry(interpreter: &Path, directory: &Path) -> Result<(), String> {
    run(Command::new(interpreter)
        .args(["-m", "pip", "download", "--quiet", "--no-cache-dir"])
        .args(["--disable-pip-version-check", "--retries", "0", "--no-deps"])
        .arg("--dest")
        .arg(directory.join("probe"))
        .arg("six"))
    .map(drop)
}

/// Installs what the scripts for Node need, and copies them beside it: modules are found from where a script is.
pub(crate) fn node() -> Result<Installation, Box<dyn Error>> {
    let directory = workspace::cache().join("clients/node");
    let interpreter = debian::program("node", "nodejs")?;
    let npm = debian::program("npm", "npm")?;
    let version = run(Command::new(&interpreter).arg("--version"))?;
    let major = version.trim().trim_start_matches('v').split('.').next();
    if major
        .and_then(|major| major.parse().ok())
        .is_none_or(|major: u32| major < MIN_NODE)
    {
        let version = version.trim();
        return Ok(Installation::Unavailable(format!(
            "Node {version} is too old: its SDKs need version {MIN_NODE}"
        )));
    }
    let _lock = workspace::lock(&directory)?;
    let mut manifests = Vec::new();
    for entry in fs::read_dir(sources().join("node"))? {
        let path = entry?.path();
        let Some(name) = path.file_name() else {
            continue;
        };
        fs::copy(&path, directory.join(name))?;
        if path.extension().is_none_or(|kind| kind != "mjs") {
            manifests.push(path);
        }
    }
    manifests.sort();
    let manifests: Vec<_> = manifests.iter().map(PathBuf::as_path).collect();
    let stamp = Stamp::new(&directory, &manifests)?;
    if !stamp.is_current() {
        eprintln!("installing the packages of npm in {}", directory.display());
        let install = run(Command::new(&npm)
            .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
            .args(["--loglevel", "error", "--fetch-retries", "1"])
            .current_dir(&directory));
        if let Err(error) = install {
            return match node_registry(&npm, &directory) {
                Ok(()) => Err(error.into()),
                Err(reason) => Ok(Installation::Unavailable(format!(
                    "npm's registry does not answer: {reason}"
                ))),
            };
        }
        stamp.write()?;
    }
    Ok(Installation::Ready {
        interpreter,
        scripts: directory,
    })
}

/// Reads the version of a small package.
fn node_registry(npm: &Path, directory: &Path) -> Result<(), String> {
    run(Command::new(npm)
        .args(["view", "tslib", "version", "--fetch-retries", "0"])
        .current_dir(directory))
    .map(drop)
}

fn sources() -> PathBuf {
    workspace::root().join("envoy-test/clients")
}

/// What was installed: the contents of the files that say what to install.
#[derive(Debug)]
struct Stamp {
    path: PathBuf,
    content: String,
}

// === impl Stamp ===

impl Stamp {
    fn new(directory: &Path, manifests: &[&Path]) -> io::Result<Self> {
        let contents = manifests.iter().map(fs::read_to_string);
        Ok(Self {
            path: directory.join("installed"),
            content: contents.collect::<io::Result<_>>()?,
        })
    }

    fn is_current(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|installed| installed == self.content)
    }

    fn write(&self) -> io::Result<()> {
        fs::write(&self.path, &self.content)
    }
}
