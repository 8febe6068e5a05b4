//! The `redress` command: the engine of [`redress_router`] for whoever sits at a terminal.
//!
//! [`run`] is the whole program but for the process: it takes arguments, streams and, in tests and in
//! `redress demo`, an AWS of one's own. Each command is a file in `commands/`; what they print is in
//! `output/`.

mod args;
mod commands;
mod context;
mod exit;
mod hub;
mod input;
mod output;
mod plan_file;
mod work;

use std::{
    ffi::OsString,
    io::{self, BufRead, Write},
    time::Duration,
};

use aws_config::SdkConfig;
use clap::{CommandFactory as _, Parser as _, error::ErrorKind};

pub use self::exit::Exit;
use self::{args::Cli, exit::Failure};

/// What a command finds around it.
pub struct Surroundings {
    /// Where results go.
    pub out: Box<dyn Write + Send>,
    /// Where errors, questions and progress go.
    pub err: Box<dyn Write + Send>,
    /// Where answers, and findings named `-`, come from.
    pub input: Box<dyn BufRead + Send>,
    /// Whether `--color auto` means colour.
    pub out_in_colour: bool,
    /// Whether somebody can answer a question.
    pub in_is_terminal: bool,
    /// Whether a progress bar is seen by anybody.
    pub err_is_terminal: bool,
    /// The AWS to use instead of the one that environment and options name.
    pub aws: Option<SdkConfig>,
    /// For how long a sign-in may be on its way to the activity table, where that is not as long as at AWS.
    pub sign_in_window: Option<Duration>,
}

/// The command line's definition, from which documentation and completions are made.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs one command. `args` starts with the program's name.
pub async fn run(args: impl IntoIterator<Item = OsString>, around: &mut Surroundings) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, around),
    };
    let only_shows = cli.command.only_shows();
    let done = Box::pin(commands::run(cli, around)).await;
    let flushed = around.out.flush().map_err(Failure::from);
    let ended = match (done, flushed) {
        // All is done, and known by the exit code, whoever reads of it.
        (Ok(exit), Err(failure)) if failure.broken_pipe => Ok(exit),
        (done, flushed) => done.and_then(|exit| flushed.map(|()| exit)),
    };
    match ended {
        Ok(exit) => exit,
        // Whoever reads has read enough: not an error, where nothing else depends on it.
        Err(failure) if failure.broken_pipe && only_shows => Exit::Done,
        Err(failure) => {
            // Where the message can't be written either, the exit code still says it.
            let _ = writeln!(around.err, "redress: {}", failure.message);
            failure.exit
        }
    }
}

/// Help and version are answers; anything else is an error in a line, and how to get help.
fn usage(error: &clap::Error, around: &mut Surroundings) -> Exit {
    let (stream, exit): (&mut dyn Write, _) = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => (&mut around.out, Exit::Done),
        _ => (&mut around.err, Exit::Input),
    };
    let text = error.render().to_string();
    let written: io::Result<()> = write!(stream, "{text}").and_then(|()| stream.flush());
    drop(written);
    exit
}
