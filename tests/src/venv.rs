//! Python environments for the emulators, for the benchmark's baseline and for what builds the packages, made
//! from pinned requirements under `target`. Whichever test process comes first makes them; the others wait.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{
    background,
    error::{Context, Error, Result},
    process::target_dir,
};

/// The oldest Python that the pinned packages install on.
const OLDEST: (u32, u32) = (3, 11);
/// Written last: without it, or with another content, the environment is made anew.
const STAMP: &str = ".made-from";

/// Which environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The emulators and proxies: `tests/requirements.txt`, in `target/e2e-venv`.
    EndToEnd,
    /// The Python function that benchmarks compare with: `tests/requirements-bench.txt`, in
    /// `target/bench-venv`.
    Baseline,
}

/// A Python environment that holds what its requirements say.
#[derive(Clone, Debug)]
pub struct Venv {
    dir: PathBuf,
}

impl Venv {
    /// A program installed in it, such as `ministack` or `python`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// The environment, made first if it is absent or its requirements have changed (under a minute; needs
/// `PyPI` or a mirror that `pip` is configured for).
pub async fn get(kind: Kind) -> Result<Venv> {
    background::blocking(move || get_blocking(kind)).await
}

/// [`get`], for callers without a runtime.
pub fn get_blocking(kind: Kind) -> Result<Venv> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    match kind {
        Kind::EndToEnd => make(&target_dir().join("e2e-venv"), &tests.join("requirements.txt")),
        Kind::Baseline => make(&target_dir().join("bench-venv"), &tests.join("requirements-bench.txt")),
    }
}

/// Makes the environment in `dir` from a requirements file, unless one made from the same content by the
/// same Python is there.
pub fn make(dir: &Path, requirements: &Path) -> Result<Venv> {
    let wanted =
        fs::read_to_string(requirements).context(|| format!("can't read `{}`", requirements.display()))?;
    let python = find_python()?;
    // The path is part of it: scripts in a moved environment point to where it was.
    let stamp = format!("{python}\n{}\n{wanted}", dir.display());
    let venv = Venv { dir: dir.to_owned() };
    made_once(dir, &stamp, || {
        run("make a Python environment", Command::new("python3").args(["-m", "venv", "--clear"]).arg(dir))?;
        let mut pip = Command::new(venv.program("python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(requirements);
        run(&format!("install `{}`", requirements.display()), &mut pip)
    })?;
    Ok(venv)
}

/// Makes a directory, unless it was made from what `stamp` says. One process makes it, the others wait.
pub(crate) fn made_once(dir: &Path, stamp: &str, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let fresh = || fs::read_to_string(dir.join(STAMP)).is_ok_and(|found| found == stamp);
    if fresh() {
        return Ok(());
    }
    let parent = dir.parent().context(|| format!("`{}` has no parent", dir.display()))?;
    fs::create_dir_all(parent).context(|| format!("can't make `{}`", parent.display()))?;
    let lock = dir.with_extension("lock");
    let lock = File::create(&lock).context(|| format!("can't make `{}`", lock.display()))?;
    lock.lock().context(|| format!("can't lock `{}`", dir.display()))?;
    if fresh() {
        return Ok(());
    }
    make()?;
    fs::write(dir.join(STAMP), stamp).context(|| format!("can't write to `{}`", dir.display()))
}

/// The version of `python3` on PATH, if it is new enough.
fn find_python() -> Result<String> {
    let needed = format!("Python {}.{} or newer is needed as `python3` on PATH", OLDEST.0, OLDEST.1);
    let code = "import platform, sys; print(platform.python_version(), *sys.version_info[:2])";
    let output = Command::new("python3")
        .args(["-c", code])
        .output()
        .context(|| format!("{needed}, and it can't be started"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = printed.split_whitespace();
    let (version, major, minor) = (words.next(), words.next(), words.next());
    let number = |word: Option<&str>| word.and_then(|word| word.parse::<u32>().ok());
    match (version, number(major), number(minor)) {
        (Some(version), Some(major), Some(minor)) if (major, minor) >= OLDEST => Ok(version.to_owned()),
        (Some(version), ..) => Err(Error::new(format!("{needed}, and it is {version}"))),
        _ => Err(Error::new(format!("{needed}, and it answers nothing: {}", tail(&output)))),
    }
}

pub(crate) fn run(what: &str, command: &mut Command) -> Result<()> {
    let output = command.output().context(|| format!("can't {what}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::new(format!("can't {what} ({}):\n{}", output.status, tail(&output))))
}

fn tail(output: &Output) -> String {
    let text = [&*output.stdout, &*output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("\n")
}
