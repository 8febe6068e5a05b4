//! Running a command in the process.

use std::{
    io::{Cursor, Write},
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use redress::{Exit, Surroundings, run};
use redress_router::rules::RuleSet;
use redress_sandbox::emulator::Emulator;
use serde_json::json;

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

/// The function of a deployment, with these variables beside its tables.
#[allow(dead_code, reason = "not every test has a deployment")]
pub(crate) fn function(emulator: &Emulator, deployment: &str, variables: &[(&str, &str)]) {
    let mut all = json!({
        "REDRESS_STATE_TABLE": format!("{deployment}-state"),
        "REDRESS_AUDIT_TABLE": format!("{deployment}-audit"),
    });
    for (name, value) in variables {
        all[*name] = json!(value);
    }
    let path = format!("/2015-03-31/functions/{deployment}-dispatcher/configuration");
    let answer = json!({ "Environment": { "Variables": all } }).to_string();
    let handler = move |request: http::Request<bytes::Bytes>| {
        assert_eq!(request.uri().path(), path);
        http::Response::new(answer.clone().into())
    };
    // Clones share their services.
    drop(emulator.clone().with_service("lambda", Arc::new(handler)));
}

/// The function of a deployment that makes changes, by the rules that are built in.
#[allow(dead_code, reason = "not every test has a deployment")]
pub(crate) fn applying(emulator: &Emulator, deployment: &str) {
    let hash = RuleSet::builtin().unwrap().hash;
    function(emulator, deployment, &[("REDRESS_CEILING", "apply"), ("REDRESS_RULES_HASH", &*hash)]);
}

/// A stream whose reader is gone after so many bytes.
struct Broken(usize);

impl Write for Broken {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        if taken == 0 && !bytes.is_empty() { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(taken) }
    }
    fn flush(&mut self) -> std::io::Result<()> {
        if self.0 == 0 { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

/// Runs a command whose results are read up to so many bytes.
#[allow(dead_code, reason = "not every test tries it")]
pub(crate) async fn cut_short(emulator: &Emulator, dir: &Path, args: &[&str], read: usize) -> Ended {
    ended(emulator, dir, args, None, Some(read)).await
}

/// Runs a command; `dir` keeps its state, unless a deployment does. With an answer, standard input counts as a
/// terminal.
pub(crate) async fn command(emulator: &Emulator, dir: &Path, args: &[&str], answer: Option<&str>) -> Ended {
    ended(emulator, dir, args, answer, None).await
}

async fn ended(
    emulator: &Emulator,
    dir: &Path,
    args: &[&str],
    answer: Option<&str>,
    read: Option<usize>,
) -> Ended {
    let (out, err) = (Tape::default(), Tape::default());
    let mut around = Surroundings {
        out: match read {
            Some(bytes) => Box::new(Broken(bytes)),
            None => Box::new(out.clone()),
        },
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
