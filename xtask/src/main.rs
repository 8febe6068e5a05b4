//! `cargo xtask`: the chores of this repository.

mod checks;
mod controls;
mod generate;
mod iam;
mod lists;
mod package;
mod reference;
mod rules;
mod stackset;

use std::{path::Path, process::ExitCode};

use clap::{Parser, Subcommand};

/// The chores of this repository.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Write what is made from the code: documentation, schemas, IAM policies
    Generate {
        /// Write nothing; fail, and say where, if a file is not what would be written
        #[arg(long)]
        check: bool,
    },
    /// Check format, lints, generated files, documentation and dependencies
    Check,
    /// Make the archives of the Lambda functions, for each architecture whose Rust target is installed
    ///
    /// Same commit, same toolchain: same bytes. What builds them is installed into `target` first, where it is
    /// absent; the first time takes some ten minutes for each architecture.
    Package(package::Options),
    /// Run every test and, beside them, every check; then make the sign-in recorder's package and try it
    ///
    /// Ends with a line `N passed, N failed`; a check counts as a test.
    Test {
        /// Leave the checks and the package out
        #[arg(long)]
        no_checks: bool,
        /// Try everything where a sample is taken otherwise, and print what was counted: hours
        #[arg(long)]
        long: bool,
    },
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let done = match Xtask::parse().chore {
        Chore::Generate { check: true } => generate::run(root, true),
        Chore::Generate { check: false } => generate::all(root),
        Chore::Check => checks::check(root),
        Chore::Package(options) => package::run(root, &options),
        Chore::Test { no_checks, long } => checks::test(root, !no_checks, long),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
