//! The `redress` command.

use std::{
    io::{self, BufReader, BufWriter, IsTerminal as _},
    process::ExitCode,
};

use redress::{Surroundings, run};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    if let Ok(filter) = EnvFilter::try_from_env("REDRESS_LOG") {
        tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter).init();
    }
    let mut surroundings = Surroundings {
        out: Box::new(BufWriter::new(io::stdout())),
        err: Box::new(io::stderr()),
        input: Box::new(BufReader::new(io::stdin())),
        out_in_colour: anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never,
        in_is_terminal: io::stdin().is_terminal(),
        err_is_terminal: io::stderr().is_terminal(),
        aws: None,
    };
    run(std::env::args_os(), &mut surroundings).await.into()
}
