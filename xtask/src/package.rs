//! `cargo xtask package`: the Lambda functions as archives that Lambda takes, the same bytes from the same
//! commit and toolchain wherever they are made.

mod elf;

use std::{
    error::Error,
    ffi::OsString,
    fmt::{self, Write as _},
    fs,
    io::{Cursor, Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use clap::{Args, ValueEnum};
use redress_tests::{background, process::target_dir, trial, venv};
use sha2::{Digest as _, Sha256};
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::checks;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// What is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Function {
    /// What handles findings
    Dispatcher,
    /// What records that users of a pool sign in
    SignInRecorder,
}

impl Function {
    /// In the order in which they are made.
    const ALL: [Self; 2] = [Self::Dispatcher, Self::SignInRecorder];

    fn binary(self) -> &'static str {
        match self {
            Self::Dispatcher => "dispatcher",
            Self::SignInRecorder => "sign-in-recorder",
        }
    }

    fn archive(self) -> &'static str {
        match self {
            Self::Dispatcher => "dispatcher.zip",
            Self::SignInRecorder => "sign-in.zip",
        }
    }

    /// How many bytes the binary may have.
    /// [Lambda takes 250 MB](https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html); but size is time
    /// until a new process is at work.
    fn most(self) -> usize {
        match self {
            Self::Dispatcher => 30_000_000,
            Self::SignInRecorder => 8_000_000,
        }
    }
}

/// What `provided.al2023` starts in an archive.
const BOOTSTRAP: &str = "bootstrap";
const SUMS: &str = "SHA256SUMS";

/// What Lambda runs functions on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Architecture {
    /// Intel and AMD
    #[value(name = "x86_64")]
    X86_64,
    /// AWS Graviton
    Arm64,
}

impl Architecture {
    /// In the order in which they are made.
    const ALL: [Self; 2] = [Self::X86_64, Self::Arm64];

    /// The one that programs run on here.
    pub fn of_this_machine() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Arm64),
            _ => None,
        }
    }

    fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }
}

impl fmt::Display for Architecture {
    /// As [Lambda calls it](https://docs.aws.amazon.com/lambda/latest/dg/foundation-arch.html).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        })
    }
}

/// Which packages, and where to.
#[derive(Args, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// For this architecture; may be repeated (default: each one whose Rust target is installed)
    #[arg(long = "arch", value_name = "ARCHITECTURE", value_enum)]
    architectures: Vec<Architecture>,
    /// Make this function's alone, and the list of checksums of it alone (default: both)
    #[arg(long, value_enum)]
    function: Option<Function>,
    /// The folder to write `ARCHITECTURE/dispatcher.zip` and the others into (default: `target/package`)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Run them as Lambda does
    #[arg(long)]
    check: bool,
    /// Build the recorder's again in another folder, to the same bytes
    #[arg(long)]
    reproduce: bool,
}

impl Options {
    /// What a test run packs, for this machine, and tries: the recorder, beside what may have been packed to be deployed.
    pub fn recorder(check: bool) -> Self {
        Self {
            architectures: Architecture::of_this_machine().into_iter().collect(),
            function: Some(Function::SignInRecorder),
            out: Some(beside()),
            check,
            reproduce: false,
        }
    }

    /// The arguments of `cargo xtask` that say so.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["package".into()];
        for architecture in &self.architectures {
            arguments.extend(["--arch".into(), architecture.to_string().into()]);
        }
        if let Some(function) = self.function {
            arguments.extend(["--function".into(), function.binary().into()]);
        }
        if let Some(out) = &self.out {
            arguments.extend(["--out".into(), out.into()]);
        }
        let flags = [(self.check, "--check"), (self.reproduce, "--reproduce")];
        arguments.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag.into()));
        arguments
    }

    fn functions(&self) -> Vec<Function> {
        self.function.map_or(Function::ALL.to_vec(), |function| vec![function])
    }
}

/// Where a test run packs.
fn beside() -> PathBuf {
    target_dir().join("package-check")
}

/// Makes the packages.
pub fn run(root: &Path, options: &Options) -> Outcome {
    let target_dir = target_dir();
    fs::create_dir_all(&target_dir)?;
    let here = Place {
        root: root.to_owned(),
        target_dir: target_dir.canonicalize()?,
        cargo_home: cargo_home(root)?,
    };
    let out = options.out.clone().unwrap_or_else(|| here.target_dir.join("package"));
    let wanted = wanted(root, &options.architectures)?;
    for architecture in wanted {
        let dir = out.join(architecture.to_string());
        fs::create_dir_all(&dir)?;
        let mut sums = String::new();
        let functions = options.functions();
        for &function in &functions {
            here.build(architecture, function)?;
            let packed = here.pack(architecture, function)?;
            let path = dir.join(function.archive());
            fs::write(&path, &packed.archive)?;
            writeln!(sums, "{}  {}", packed.sha256(), function.archive())?;
            println!(
                "{}: {} KiB of {} KiB unpacked, glibc {}, sha256 {}",
                path.display(),
                packed.archive.len() / 1024,
                packed.unpacked / 1024,
                packed.glibc,
                packed.sha256()
            );
        }
        fs::write(dir.join(SUMS), sums)?;
        if options.check {
            check(architecture, &functions, &dir)?;
        }
        if options.reproduce {
            reproduce(&here, architecture, &dir)?;
        }
    }
    Ok(())
}

/// The architectures asked for, else all whose standard library is there.
fn wanted(root: &Path, asked: &[Architecture]) -> Outcome<Vec<Architecture>> {
    let mut wanted = Vec::new();
    for architecture in Architecture::ALL {
        if !asked.is_empty() && !asked.contains(&architecture) {
            continue;
        }
        let libraries = ask_rustc(root, &["--print", "target-libdir", "--target", architecture.target()])?;
        if Path::new(&libraries).is_dir() {
            wanted.push(architecture);
            continue;
        }
        let install = format!("install its target by `rustup target add {}`", architecture.target());
        if asked.is_empty() {
            println!("skipped: {architecture}, {install}");
        } else {
            return Err(format!("{architecture} can't be built: {install}").into());
        }
    }
    Ok(wanted)
}

/// Runs what was packed.
fn check(architecture: Architecture, functions: &[Function], dir: &Path) -> Outcome {
    if Architecture::of_this_machine() != Some(architecture) || !cfg!(target_os = "linux") {
        println!("skipped: running them, this machine is not {architecture} with Linux");
        return Ok(());
    }
    let unpacked = beside().join(architecture.to_string());
    for function in functions {
        let to = unpacked.join(function.binary());
        fs::create_dir_all(&to)?;
        let program = unpack(&dir.join(function.archive()), &to)?;
        match function {
            Function::Dispatcher => background::block_on(trial::dispatcher(program))??,
            Function::SignInRecorder => background::block_on(trial::recorder(program))??,
        }
        println!("{architecture}: {} works", function.archive());
    }
    Ok(())
}

/// Builds the smaller function again where every path is another.
fn reproduce(here: &Place, architecture: Architecture, dir: &Path) -> Outcome {
    let function = Function::SignInRecorder;
    let path = dir.join(function.archive());
    let packed = fs::read(&path).map_err(|error| format!("`{}`: {error}", path.display()))?;
    let elsewhere = here.copy_to(&beside().join("another place"))?;
    elsewhere.build(architecture, function)?;
    if packed != elsewhere.pack(architecture, function)?.archive {
        return Err(format!("`{}` is another when built in another folder", function.archive()).into());
    }
    println!("{architecture}: {} is the same from another folder", function.archive());
    Ok(())
}

/// Whatever a build could pick up of the machine it runs on.
struct Place {
    root: PathBuf,
    target_dir: PathBuf,
    cargo_home: PathBuf,
}

/// An archive, and what its executable needs.
struct Packed {
    archive: Vec<u8>,
    /// The executable's bytes.
    unpacked: usize,
    glibc: elf::Glibc,
}

impl Packed {
    fn sha256(&self) -> String {
        Sha256::digest(&self.archive).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

impl Place {
    /// Builds a function with the pinned tool, whatever else is on PATH: another version links otherwise.
    ///
    /// One at a time: cargo compiles dependencies that both have in another way where it builds both, since a
    /// crate that the dispatcher alone has is a C library as well, which asks machine code of its own.
    fn build(&self, architecture: Architecture, function: Function) -> Outcome {
        let venv = venv::make(&target_dir().join("package-venv"), &self.root.join("xtask/requirements.txt"))?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let tools = venv.program("cargo-lambda");
        let tools = tools.parent().map(Path::to_owned);
        let path = std::env::join_paths(tools.into_iter().chain(std::env::split_paths(&path)))?;

        let mut command = Command::new(venv.program("cargo-lambda"));
        checks::forget_package(&mut command);
        // What a developer sets for other builds makes another package.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PROFILE_") || text.starts_with("CARGO_LAMBDA_") {
                command.env_remove(&name);
            }
        }
        for name in ["RUSTFLAGS", "CFLAGS", "CARGO_BUILD_TARGET", "CARGO_BUILD_RUSTFLAGS", "RUSTC_WRAPPER"] {
            command.env_remove(name);
        }
        command
            .current_dir(&self.root)
            .env("PATH", path)
            .env("CARGO_HOME", &self.cargo_home)
            .env("CARGO_TARGET_DIR", &self.target_dir)
            .env("CARGO_ENCODED_RUSTFLAGS", self.without_paths()?)
            // Its own optimizations are for processors of a certain kind, and change the profile that the
            // benchmarks measure.
            .args(["lambda", "build", "--release", "--locked", "--disable-optimizations", "--target"])
            .arg(format!("{}.{}", architecture.target(), elf::NEWEST_GLIBC))
            .arg("--lambda-dir")
            .arg(self.built(architecture))
            .args(["--bin", function.binary()]);
        let status = command.status()?;
        if status.success() { Ok(()) } else { Err(format!("cargo lambda build: {status}").into()) }
    }

    /// Where `cargo lambda` puts what it has built.
    fn built(&self, architecture: Architecture) -> PathBuf {
        self.target_dir.join("lambda").join(architecture.to_string())
    }

    /// Compiler flags that take this machine's paths out of messages: those of dependencies, of code that
    /// build scripts write, and of the standard library where its sources are installed. Cargo itself names
    /// the workspace's files from its root.
    fn without_paths(&self) -> Outcome<OsString> {
        let version = ask_rustc(&self.root, &["--version", "--verbose"])?;
        let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: ")).unwrap_or("unknown");
        let sysroot = ask_rustc(&self.root, &["--print", "sysroot"])?;
        let mut flags = OsString::new();
        for (from, to) in [
            (self.cargo_home.join("registry/src"), "/cargo".to_owned()),
            (self.target_dir.clone(), "/target".to_owned()),
            (Path::new(&sysroot).join("lib/rustlib/src/rust"), format!("/rustc/{commit}")),
        ] {
            if !flags.is_empty() {
                flags.push("\u{1f}");
            }
            flags.push("--remap-path-prefix=");
            flags.push(from);
            flags.push("=");
            flags.push(to);
        }
        Ok(flags)
    }

    /// Checks what was built and makes the archive of it.
    fn pack(&self, architecture: Architecture, function: Function) -> Outcome<Packed> {
        let path = self.built(architecture).join(function.binary()).join(BOOTSTRAP);
        let executable = fs::read(&path).map_err(|error| format!("`{}`: {error}", path.display()))?;
        let refused = |why: String| format!("`{}` for {architecture} is refused: {why}", function.binary());
        let glibc = elf::check(&executable, architecture).map_err(refused)?;
        if executable.len() > function.most() {
            let why = format!("it has {} bytes, and may have {}", executable.len(), function.most());
            return Err(refused(why).into());
        }
        for of_this_machine in [&self.root, &self.target_dir, &self.cargo_home] {
            if holds(&executable, of_this_machine) {
                return Err(refused(format!("it names `{}`", of_this_machine.display())).into());
            }
        }
        Ok(Packed { archive: archive(&executable)?, unpacked: executable.len(), glibc })
    }

    /// A copy of the sources, with another target directory and another name for cargo's own.
    fn copy_to(&self, dir: &Path) -> Outcome<Self> {
        let copy =
            Self { root: dir.join("sources"), target_dir: dir.join("built"), cargo_home: dir.join("cargo") };
        for old in [&copy.root, &copy.cargo_home] {
            if old.exists() {
                fs::remove_dir_all(old)?;
            }
            fs::create_dir_all(old)?;
        }
        let files = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&self.root)
            .output()?;
        if !files.status.success() {
            return Err(format!("git ls-files: {}", files.status).into());
        }
        for file in String::from_utf8(files.stdout)?.split_terminator('\0') {
            let (from, to) = (self.root.join(file), copy.root.join(file));
            // Removed, and not yet from the index; or a link to a folder.
            if from.is_file() {
                fs::create_dir_all(to.parent().unwrap_or(&copy.root))?;
                fs::copy(from, to)?;
            }
        }
        for entry in fs::read_dir(&self.cargo_home)? {
            let entry = entry?;
            #[cfg(unix)]
            std::os::unix::fs::symlink(entry.path(), copy.cargo_home.join(entry.file_name()))?;
        }
        Ok(copy)
    }
}

/// Whether a path of this machine stands in an executable. One as short as `/src` proves nothing.
fn holds(executable: &[u8], path: &Path) -> bool {
    let needle = path.as_os_str().as_encoded_bytes();
    path.components().count() > 2 && executable.windows(needle.len()).any(|window| window == needle)
}

/// The archive of an executable: no time, no user, nothing of the file system it came from.
fn archive(executable: &[u8]) -> Outcome<Vec<u8>> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(9))
        .last_modified_time(DateTime::default())
        .unix_permissions(0o755);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file(BOOTSTRAP, options)?;
    archive.write_all(executable)?;
    Ok(archive.finish()?.into_inner())
}

/// Takes the one executable out of an archive, as Lambda does.
fn unpack(path: &Path, to: &Path) -> Outcome<PathBuf> {
    let mut archive = ZipArchive::new(fs::File::open(path)?)?;
    let held: Vec<&str> = archive.file_names().collect();
    if held != [BOOTSTRAP] {
        return Err(format!("`{}` holds {held:?}", path.display()).into());
    }
    let mut entry = archive.by_index(0)?;
    if entry.unix_mode().is_none_or(|mode| mode & 0o777 != 0o755) {
        return Err(format!("`{}` holds what can't be executed", path.display()).into());
    }
    let mut executable = Vec::new();
    entry.read_to_end(&mut executable)?;
    let to = to.join(BOOTSTRAP);
    // A running one can be replaced, but not written to.
    if to.exists() {
        fs::remove_file(&to)?;
    }
    fs::write(&to, executable)?;
    #[cfg(unix)]
    fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(to)
}

/// Where cargo keeps the sources of dependencies.
fn cargo_home(root: &Path) -> Outcome<PathBuf> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(set) => root.join(set),
        None => std::env::home_dir().ok_or("neither CARGO_HOME nor HOME is set")?.join(".cargo"),
    };
    Ok(home)
}

/// One answer of the toolchain that builds the packages.
fn ask_rustc(root: &Path, arguments: &[&str]) -> Outcome<String> {
    let output = Command::new("rustc").args(arguments).current_dir(root).output()?;
    if !output.status.success() {
        return Err(format!("rustc {}: {}", arguments.join(" "), output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn arguments_are_read_as_what_they_were_made_of() {
        let all = Options {
            architectures: Architecture::ALL.to_vec(),
            function: Some(Function::Dispatcher),
            out: Some("a folder".into()),
            check: true,
            reproduce: true,
        };
        for options in [Options::default(), Options::recorder(true), all] {
            assert_eq!(Line::parse_from(options.arguments()).options, options);
        }
    }

    #[test]
    fn an_archive_holds_one_executable_and_no_time() {
        let made = archive(b"#!/bin/sh\n").unwrap();
        assert_eq!(made, archive(b"#!/bin/sh\n").unwrap());
        let mut read = ZipArchive::new(Cursor::new(made)).unwrap();
        assert_eq!(read.len(), 1);
        let entry = read.by_index(0).unwrap();
        assert_eq!((entry.name(), entry.unix_mode()), ("bootstrap", Some(0o100_755)));
        assert_eq!(entry.last_modified(), Some(DateTime::default()));
    }

    #[test]
    fn a_path_of_the_machine_is_found() {
        let executable = b"...\0/home/ci/.cargo/registry/src/x.rs\0...";
        assert!(holds(executable, Path::new("/home/ci/.cargo")));
        assert!(!holds(executable, Path::new("/home/ci/redress")));
        assert!(!holds(b"a/src/b.rs", Path::new("/src")));
    }
}
