//! The `redress` command.

use std::{
    io::{self, BufReader, BufWriter, IsTerminal as _},
    process::ExitCode,
};

use redress::{Surroundings, run};
use tracing_subscriber::filter::LevelFilter;

#[tokio::main]
async fn main() -> ExitCode {
    if let Some(level) = std::env::var("REDRESS_LOG").ok().and_then(|level| level.parse::<LevelFilter>().ok())
    {
        tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(level).init();
    }
    let mut surroundings = Surroundings {
        out: Box::new(BufWriter::new(io::stdout())),
        err: Box::new(io::stderr()),
        input: Box::new(BufReader::new(io::stdin())),
        out_in_colour: anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never,
        in_is_terminal: io::stdin().is_terminal(),
        err_is_terminal: io::stderr().is_terminal(),
        aws: None,
        sign_in_window: None,
    };
    run(std::env::args_os(), &mut surroundings).await.into()
}
