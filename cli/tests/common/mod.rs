//! Running a command in the process.

use std::{
    io::{Cursor, Write},
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use redress::{Exit, Surroundings, run};
use redress_sandbox::emulator::Emulator;

pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const REGION: &str = "eu-west-1";

/// A stream that can be read after it was written to.
#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Tape {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A folder that is gone with whoever has it.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("redress-cli-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Deref for Dir {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) struct Ended {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command; `dir` keeps its state, unless a deployment does. With an answer, standard input counts as a
/// terminal.
pub(crate) async fn command(emulator: &Emulator, dir: &Path, args: &[&str], answer: Option<&str>) -> Ended {
    let (out, err) = (Tape::default(), Tape::default());
    let mut around = Surroundings {
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
        input: Box::new(Cursor::new(answer.unwrap_or_default().to_owned())),
        out_in_colour: false,
        in_is_terminal: answer.is_some(),
        err_is_terminal: false,
        aws: Some(emulator.sdk_config(ACCOUNT, REGION)),
        sign_in_window: None,
    };
    let state = dir.join("state").display().to_string();
    let here: &[&str] = if args.contains(&"--deployment") { &[] } else { &["--state-dir", &state] };
    let args = ["redress"].iter().chain(args).chain(here).copied();
    let exit = run(args.map(Into::into), &mut around).await;
    Ended { exit, out: out.text(), err: err.text() }
}
