//! `cargo xtask check` and `cargo xtask test`.

use std::{
    collections::BTreeMap,
    error::Error,
    ffi::{OsStr, OsString},
    fmt::Display,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
};

use redress_tests::{deployment, terraform::binary};

use crate::{generate, package};

type Outcome = Result<(), Box<dyn Error>>;

/// How one check ended.
enum Ended {
    Passed,
    Failed,
    /// Not tried, and why.
    Skipped(String),
}

/// How a check ended that says why it fails.
fn ended<E: Display>(outcome: Result<(), E>) -> Ended {
    match outcome {
        Ok(()) => Ended::Passed,
        Err(error) => {
            eprintln!("{error}");
            Ended::Failed
        }
    }
}

/// Runs every check and fails if one of them does.
pub fn check(root: &Path) -> Outcome {
    let Count { failed, .. } = all_checks(root)?;
    if failed == 0 { Ok(()) } else { Err(format!("{failed} checks failed").into()) }
}

/// Runs every test, every check, and packs the recorder and tries the package; ends with how many passed and failed.
///
/// `long` tries everything where a sample is taken otherwise (`REDRESS_LONG`), and shows what the tests print.
pub fn test(root: &Path, checks: bool, long: bool) -> Outcome {
    heading("cargo test --workspace");
    // What does not build is told, and counted, by the tests' own run.
    // With tests, cargo builds the binaries of those packages alone whose tests are files of their own.
    let built = cargo(root, &["test", "--workspace", "--no-run"]).status()?.success()
        && cargo(root, &["build", "--workspace", "--bins"]).status()?.success();
    let mut beside = None;
    let mut count = run_tests(root, long, built, || beside = checks.then(|| Beside::start(root)))?;
    if checks {
        let checked = match beside.map(Beside::end) {
            Some(Ok(checked)) => checked,
            // No test ran, or there is no `nice`.
            None | Some(Err(_)) => all_checks(root)?,
        };
        count.passed += checked.passed;
        count.failed += checked.failed;
        // Minutes, after every change: not for whoever only wants to know about the lints. The dispatcher's release
        // build takes as long as all the rest, and is made by a job of its own (.github/workflows/test.yml).
        let recorder = package::Options::recorder(true);
        heading(&format!("cargo xtask {}", recorder.arguments().join(OsStr::new(" ")).display()));
        count.report("package", &ended(package::run(root, &recorder)));
    }
    if count.ignored > 0 {
        println!("{} ignored", count.ignored);
    }
    println!("{} passed, {} failed", count.passed, count.failed);
    if count.failed == 0 { Ok(()) } else { Err("not everything passed".into()) }
}

/// The checks, while the tests run, which leave the processors idle for much of their time: they wait for emulators. At
/// the lowest priority, since some of them look at the clock.
struct Beside(JoinHandle<io::Result<(Vec<u8>, ExitStatus)>>);

impl Beside {
    fn start(root: &Path) -> Self {
        let root = root.to_owned();
        Self(thread::spawn(move || {
            let (mut reader, writer) = io::pipe()?;
            let mut child =
                nice(&root, &["check".into()]).stdout(writer.try_clone()?).stderr(writer).spawn()?;
            let mut printed = Vec::new();
            reader.read_to_end(&mut printed)?;
            let status = child.wait()?;
            // Silent: whoever tries the package afterwards finds it built, or is told what hinders.
            let mut package = nice(&root, &package::Options::recorder(false).arguments());
            package.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
            Ok((printed, status))
        }))
    }

    /// Waits for them, prints what they printed, and counts.
    fn end(self) -> io::Result<Count> {
        let (printed, status) = self.0.join().map_err(|_| io::Error::other("the checks did not end"))??;
        io::stdout().write_all(&printed)?;
        let mut count = Count::default();
        for line in String::from_utf8_lossy(&printed).lines() {
            count.add(line);
        }
        if !status.success() && count.failed == 0 {
            eprintln!("cargo xtask check: {status}");
            count.failed = 1;
        }
        Ok(count)
    }
}

/// Another `cargo xtask`, with the lowest priority. Not this program's own file: the build may have replaced it.
fn nice(root: &Path, arguments: &[OsString]) -> Command {
    let mut xtask = cargo(root, &["run", "--quiet", "--bin", "xtask", "--"]);
    xtask.args(arguments);
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(xtask.get_program()).args(xtask.get_args());
    for (name, value) in xtask.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(root).stdin(Stdio::null());
    command
}

fn all_checks(root: &Path) -> Result<Count, Box<dyn Error>> {
    let mut report = Vec::new();
    report.push(("format", tool(root, "fmt", "rustfmt", &["--all", "--check"], &[])?));
    heading("cargo xtask generate --check");
    report.push(("generated files", ended(generate::run(root, true))));
    heading("cargo tree --workspace");
    report.push(("one build", one_build(root)?));
    let lints = ["--workspace", "--all-targets", "--", "-D", "warnings"];
    report.push(("lints", tool(root, "clippy", "clippy", &lints, &[])?));
    // Needs what clippy has just made, and no more.
    let docs =
        tool(root, "doc", "rustdoc", &["--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])?;
    report.push(("documentation", docs));
    let dependencies = tool(root, "deny", "cargo-deny", &["check", "bans", "licenses", "sources"], &[])?;
    report.push(("dependencies", dependencies));
    heading("terraform fmt, validate, test");
    report.push(("terraform", terraform()));

    println!();
    let mut count = Count::default();
    for (name, ended) in report {
        count.report(name, &ended);
    }
    Ok(count)
}

/// Whether tests are built with the very dependencies that the program is built with. One crate that only tests use can
/// turn on a feature of another, and every SDK crate that depends on that one is built a second time: minutes, and
/// gigabytes (docs/decisions/0005-build-selection.md).
fn one_build(root: &Path) -> Result<Ended, Box<dyn Error>> {
    let features = |edges: &str| -> Result<BTreeMap<String, String>, Box<dyn Error>> {
        let arguments = ["tree", "--workspace", "--prefix", "none", "--format", "{p}|{f}", "--edges", edges];
        let output = cargo(root, &arguments).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        let text = String::from_utf8(output.stdout)?;
        let lines = text.lines().map(|line| line.trim_end_matches(" (*)"));
        let split = lines.filter_map(|line| line.split_once('|'));
        Ok(split.map(|(package, features)| (package.to_owned(), features.to_owned())).collect())
    };
    let (program, tests) = (features("normal,build")?, features("normal,build,dev")?);
    let mut ended = Ended::Passed;
    for (package, features) in program {
        if let Some(others) = tests.get(&package).filter(|others| **others != features) {
            eprintln!("{package}: built with `{features}`, and for tests with `{others}`");
            ended = Ended::Failed;
        }
    }
    Ok(ended)
}

/// Terraform's own checks of the deployment, where it is at hand with its providers.
fn terraform() -> Ended {
    match binary::find() {
        Ok(Ok(found)) => ended(found.check()),
        Ok(Err(missing)) => Ended::Skipped(missing),
        Err(error) => ended(Err(error)),
    }
}

/// Runs a cargo command that may not be there.
fn tool(
    root: &Path,
    name: &str,
    component: &'static str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<Ended, Box<dyn Error>> {
    let version = if name == "doc" { Command::new("rustdoc") } else { cargo(root, &[name]) }
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !version.is_ok_and(|status| status.success()) {
        return Ok(Ended::Skipped(format!("{component} is not installed")));
    }
    heading(&format!("cargo {name} {}", arguments.join(" ")));
    let status = cargo(root, &[name]).args(arguments).envs(environment.iter().copied()).status()?;
    Ok(if status.success() { Ended::Passed } else { Ended::Failed })
}

fn heading(text: &str) {
    println!("\n== {text}");
}

/// The cargo that runs this, in the workspace, without what it has told this process of its own package.
pub fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    forget_package(&mut command);
    command.current_dir(root).args(arguments);
    command
}

/// Keeps from a command what cargo has told this process of its own package: build scripts that look at it
/// would run again.
pub fn forget_package(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}

/// The sum of cargo's `test result:` lines and of our `check` lines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Count {
    /// Prints the line of a check and counts it.
    fn report(&mut self, name: &str, ended: &Ended) {
        let line = match ended {
            Ended::Passed => format!("check {name} ... ok"),
            Ended::Failed => format!("check {name} ... FAILED"),
            Ended::Skipped(why) => format!("check {name} ... skipped: {why}"),
        };
        println!("{line}");
        self.add(&line);
    }

    /// Adds a line, if it is one that counts: `test result: ok. 3 passed; 0 failed; 1 ignored; …`, `check lints ... ok`.
    fn add(&mut self, line: &str) {
        if let Some((_, ended)) = line.strip_prefix("check ").and_then(|rest| rest.split_once(" ... ")) {
            match ended {
                "ok" => self.passed += 1,
                "FAILED" => self.failed += 1,
                _ => {}
            }
            return;
        }
        let Some((_, numbers)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in numbers.split("; ") {
            let Some((number, word)) = part.split_once(' ') else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            match word {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

/// Runs the tests; `running` is called when they begin, cargo having built them.
fn run_tests(root: &Path, long: bool, built: bool, running: impl FnOnce()) -> Result<Count, Box<dyn Error>> {
    let mut command = cargo(root, &["test", "--workspace", "--no-fail-fast"]);
    if built {
        // No test has to wait for the checks' cargo, only to be told so.
        command.env(deployment::BUILT, "1");
    }
    if long {
        command.args(["--", "--show-output"]).env("REDRESS_LONG", "1");
    }
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut count = Count::default();
    if let Some(stdout) = child.stdout.take() {
        let mut out = std::io::stdout().lock();
        // A test may print anything, so lines are bytes.
        let mut lines = BufReader::new(stdout).split(b'\n').peekable();
        if lines.peek().is_some() {
            running();
        }
        for line in lines {
            let line = line?;
            out.write_all(&line)?;
            out.write_all(b"\n")?;
            out.flush()?;
            count.add(&String::from_utf8_lossy(&line));
        }
    }
    let status = child.wait()?;
    if !status.success() && count.failed == 0 {
        // It did not compile, or a test binary ended in another way than by failing.
        eprintln!("cargo test: {status}");
        count.failed = 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut count = Count::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.2s",
            "test result: of a test that prints so",
            "5 passed; 5 failed",
            "check lints ... ok",
            "check documentation ... FAILED",
            "check terraform ... skipped: not installed",
            "checked",
        ] {
            count.add(line);
        }
        assert_eq!(count, Count { passed: 14, failed: 3, ignored: 1 });
    }
}
