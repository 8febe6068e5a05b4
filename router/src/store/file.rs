//! State and records in a directory: for the command line without a deployment.
//!
//! ```text
//! audit.jsonl    a sealed record a line; only ever appended to
//! state.json     the state items, replaced whole
//! journal.json   a commit that is under way
//! lock           held for every look and every write
//! ```
//!
//! Guarantees, for any number of processes on one machine:
//! - A commit is made once its journal is in place. Whatever cuts it off afterwards, the next to open the
//!   directory or to use it carries it out to the end before anything else.
//! - No line of `audit.jsonl` is ever dropped or rewritten. A line that was cut off by a crash is completed
//!   from the journal; one that no journal explains is an error that names it.
//!
//! Assumption: the directory is on a disk of this machine. Locks of network file systems are not relied on.
//!
//! Files are read and written without handing the thread back: a commit takes some milliseconds, nothing is
//! awaited while the lock is held, and the process is a command, not a server.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use jiff::Timestamp;
use redress_remediators::{BoxFuture, Error, ErrorKind};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Clock, Commit, CommitError, Index, Item, RunRef, Store,
    memory::{Changes, State, Tables},
};
use crate::audit::{
    Record,
    check::{Content, Row},
};

/// The version of `state.json` that this program writes, and the only one that it reads.
const VERSION: u32 = 1;

/// A store in a directory.
pub struct File {
    dir: PathBuf,
    clock: Clock,
    seen: Mutex<Seen>,
}

/// What this process knows of the directory.
#[derive(Default)]
struct Seen {
    tables: Tables,
    /// Length and time of the `audit.jsonl` that the records in `tables` were read from. Since it is only
    /// appended to, it can't have changed and be as long as before.
    audit: Option<(u64, Option<SystemTime>)>,
}

/// The content of `state.json`.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    version: u32,
    items: State,
}

/// The content of `journal.json`: all that a commit does, in a form that can be done twice.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Journal {
    /// How long `audit.jsonl` was before.
    audit_len: u64,
    /// What is appended to it, line breaks included.
    lines: String,
    state: Changes,
}

impl File {
    /// Opens the store in a directory, which is made if need be, for its owner alone.
    ///
    /// # Errors
    /// Where the directory can't be used, or a file in it is damaged; names file and line.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::open_with_clock(dir, Arc::new(Timestamp::now))
    }

    /// Opens the store in a directory, with a clock by which items expire.
    ///
    /// # Errors
    /// As for [`File::open`].
    pub fn open_with_clock(dir: impl Into<PathBuf>, clock: Clock) -> Result<Self, Error> {
        let store = Self { dir: dir.into(), clock, seen: Mutex::default() };
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&store.dir).map_err(|error| failed(&store.dir, &error))?;
        store.locked(|_| Ok::<_, Error>(()))?;
        Ok(store)
    }

    /// Does something to the tables as they are on disk, alone on this machine.
    fn locked<T, E: From<Error>>(&self, work: impl FnOnce(&mut Seen) -> Result<T, E>) -> Result<T, E> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path("lock");
        let lock =
            private().create(true).truncate(false).open(&path).map_err(|error| failed(&path, &error))?;
        lock.lock().map_err(|error| failed(&path, &error))?;
        self.load(&mut seen)?;
        work(&mut seen)
        // The lock ends as `lock` is closed.
    }

    /// Brings what is known up to date, and an interrupted commit to its end.
    fn load(&self, seen: &mut Seen) -> Result<(), Error> {
        let state = self.path("state.json");
        let found: Option<StateFile> = read_json(&state)?;
        if let Some(found) = &found
            && found.version != VERSION
        {
            let why = format!("{}: version {}; this redress reads {VERSION}", state.display(), found.version);
            return Err(Error::new(ErrorKind::Invalid, why));
        }
        seen.tables.state = found.unwrap_or_default().items;
        if let Some(journal) = read_json::<Journal>(&self.path("journal.json"))? {
            self.finish(journal, &mut seen.tables.state)?;
        }
        let audit = self.audit_stamp()?;
        if seen.audit != Some(audit) {
            seen.audit = None;
            seen.tables.records = read_records(&self.path("audit.jsonl"))?;
            seen.audit = Some(audit);
        }
        Ok(())
    }

    fn commit_locked(&self, seen: &mut Seen, commit: &Commit) -> Result<(), CommitError> {
        let changes = seen.tables.changes(commit, (self.clock)())?;
        if commit.records.is_empty() {
            // A single file is replaced: no journal is needed to do that whole or not at all.
            changes.apply(&mut seen.tables.state);
            return Ok(self.write_state(&seen.tables.state)?);
        }
        let journal = self.begin(commit, changes)?;
        self.finish(journal, &mut seen.tables.state)?;
        // Read again from the file, had anything failed before.
        seen.audit = Some(self.audit_stamp()?);
        seen.tables.add_records(commit);
        Ok(())
    }

    /// Decides a commit: from here on it happens, whoever carries it out.
    fn begin(&self, commit: &Commit, state: Changes) -> Result<Journal, Error> {
        let mut lines = String::new();
        for (_, sealed) in &commit.records {
            lines.push_str(&sealed.line);
            lines.push('\n');
        }
        let journal = Journal { audit_len: self.audit_stamp()?.0, lines, state };
        let path = self.path("journal.json");
        let content = serde_json::to_vec(&journal).map_err(|error| damaged(&path, &error))?;
        self.replace(&path, &content)?;
        Ok(journal)
    }

    /// Carries out a commit, wherever it was left.
    fn finish(&self, journal: Journal, state: &mut State) -> Result<(), Error> {
        self.append(&journal)?;
        journal.state.apply(state);
        self.write_state(state)?;
        let path = self.path("journal.json");
        fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
        self.sync_dir()
    }

    fn append(&self, journal: &Journal) -> Result<(), Error> {
        let path = self.path("audit.jsonl");
        let failed = |error: io::Error| failed(&path, &error);
        let mut file = private().create(true).truncate(false).open(&path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        if len < journal.audit_len {
            let why = format!(
                "{}: {len} bytes are left of {} that were there before the commit in journal.json",
                path.display(),
                journal.audit_len
            );
            return Err(Error::new(ErrorKind::Invalid, why));
        }
        file.seek(SeekFrom::Start(journal.audit_len)).map_err(failed)?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).map_err(failed)?;
        // A file system may lengthen a file before its content arrives: what is missing then reads as zeros.
        let lines = journal.lines.as_bytes();
        let ours = tail.len() <= lines.len()
            && tail.iter().zip(lines).all(|(found, written)| found == written || *found == 0);
        if !ours {
            let why = format!(
                "{}: what follows byte {} is not what journal.json says",
                path.display(),
                journal.audit_len
            );
            return Err(Error::new(ErrorKind::Invalid, why));
        }
        file.seek(SeekFrom::Start(journal.audit_len)).map_err(failed)?;
        file.write_all(lines).map_err(failed)?;
        file.sync_all().map_err(failed)
    }

    fn write_state(&self, state: &State) -> Result<(), Error> {
        let now = (self.clock)();
        let items = state.iter().filter(|(_, stored)| stored.is_alive(now));
        let items = items.map(|(key, stored)| (key.clone(), stored.clone())).collect();
        let path = self.path("state.json");
        let content = serde_json::to_vec(&StateFile { version: VERSION, items })
            .map_err(|error| damaged(&path, &error))?;
        self.replace(&path, &content)
    }

    /// Puts a file in another's place, so that a crash leaves the one or the other.
    fn replace(&self, path: &Path, content: &[u8]) -> Result<(), Error> {
        let new = path.with_extension("json.new");
        let write = || {
            let mut file = private().create(true).truncate(true).open(&new)?;
            file.write_all(content)?;
            file.sync_all()
        };
        write().map_err(|error| failed(&new, &error))?;
        fs::rename(&new, path).map_err(|error| failed(path, &error))?;
        self.sync_dir()
    }

    /// Makes sure that new and removed names outlast a power failure.
    fn sync_dir(&self) -> Result<(), Error> {
        if cfg!(unix) {
            let sync = || fs::File::open(&self.dir)?.sync_all();
            sync().map_err(|error| failed(&self.dir, &error))?;
        }
        Ok(())
    }

    fn audit_stamp(&self) -> Result<(u64, Option<SystemTime>), Error> {
        let path = self.path("audit.jsonl");
        match fs::metadata(&path) {
            Ok(found) => Ok((found.len(), found.modified().ok())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((0, None)),
            Err(error) => Err(failed(&path, &error)),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// How files are opened: for reading and writing, by their owner alone.
fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match fs::read(path) {
        Ok(content) => serde_json::from_slice(&content).map(Some).map_err(|error| damaged(path, &error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, &error)),
    }
}

/// Reads the records. Their hashes are for whoever looks at a run: one altered record must not be in the way
/// of every other run.
fn read_records(path: &Path) -> Result<Vec<(Record, String)>, Error> {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(path, &error)),
    };
    let mut records = Vec::new();
    for (number, line) in (1..).zip(content.split_inclusive(|byte| *byte == b'\n')) {
        let wrong =
            |why: &str| Error::new(ErrorKind::Invalid, format!("{}: line {number}: {why}", path.display()));
        let line = line.strip_suffix(b"\n").ok_or_else(|| wrong("it is cut off"))?;
        let line = std::str::from_utf8(line).map_err(|error| wrong(&error.to_string()))?;
        let record = serde_json::from_str(line).map_err(|error| wrong(&format!("no record: {error}")))?;
        records.push((record, line.to_owned()));
    }
    Ok(records)
}

/// What the records of a directory are, line by line, damaged ones included: also where [`File::open`] fails for
/// their sake. The directory is not written to.
///
/// # Errors
/// Where they can't be read.
pub fn rows(dir: &Path) -> Result<Vec<Row>, Error> {
    // Where the directory is a copy that nobody may write to, nobody writes to it meanwhile.
    let lock = fs::OpenOptions::new().read(true).write(true).open(dir.join("lock"));
    if let Ok(lock) = &lock {
        lock.lock().map_err(|error| failed(dir, &error))?;
    }
    let path = dir.join("audit.jsonl");
    let content = match fs::read(&path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&path, &error)),
    };
    let row = |(number, line): (usize, &[u8])| {
        let wrong = |why: &str| Content::Wrong { run: None, seq: None, why: why.to_owned() };
        let content = match line.strip_suffix(b"\n").map(std::str::from_utf8) {
            None => wrong("it is cut off"),
            Some(Err(_)) => wrong("it is no text"),
            Some(Ok(line)) => Content::Record { line: line.to_owned(), key: None },
        };
        Row { place: format!("audit.jsonl: line {number}"), content }
    };
    Ok((1..).zip(content.split_inclusive(|byte| *byte == b'\n')).map(row).collect())
}

fn damaged(path: &Path, error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("{}: {error}", path.display()))
}

/// A missing directory is not a missing resource, so nothing here is `NotFound`.
fn failed(path: &Path, error: &io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            ErrorKind::Invalid
        }
        _ => ErrorKind::Transient,
    };
    Error::new(kind, format!("{}: {error}", path.display()))
}

impl Store for File {
    fn read<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<HashMap<String, Item>, Error>> {
        Box::pin(async move { self.locked(|seen| Ok(seen.tables.read(keys, (self.clock)()))) })
    }

    fn commit<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<(), CommitError>> {
        Box::pin(async move { self.locked(|seen| self.commit_locked(seen, commit)) })
    }

    fn run<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        Box::pin(async move { self.locked(|seen| Ok(seen.tables.run(run))) })
    }

    fn runs<'a>(&'a self, by: Index<'a>, limit: usize) -> BoxFuture<'a, Result<Vec<RunRef>, Error>> {
        Box::pin(async move { self.locked(|seen| Ok(seen.tables.runs(by, limit))) })
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, Item)>, Error>> {
        Box::pin(async move { self.locked(|seen| Ok(seen.tables.scan(prefix, (self.clock)()))) })
    }

    fn rows(&self) -> BoxFuture<'_, Result<Vec<Row>, Error>> {
        Box::pin(async move { rows(&self.dir) })
    }

    fn name(&self) -> String {
        self.dir.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
    use std::thread;

    use serde_json::json;

    use super::*;
    use crate::{
        audit::{Stage, tests::record},
        store::{Expect, Op},
    };

    /// A directory that is gone with the test.
    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("redress-store-{}", uuid::Uuid::new_v4())))
        }

        fn open(&self) -> Result<File, Error> {
            File::open(&self.0)
        }

        fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.file(name)).unwrap()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    /// Takes a lease, counts, and stores the first record of a run.
    fn intent(run: &str) -> Commit {
        let record = record(run, 1, Stage::Intent, "", false);
        let sealed = record.seal().unwrap();
        let lease = Op::Put {
            key: format!("lease#{run}"),
            body: json!({ "run": run }),
            etag: "1".to_owned(),
            expect: Expect::Absent,
            expires: None,
        };
        Commit { ops: vec![lease, count("cap#a", 100)], records: vec![(record, sealed)] }
    }

    fn count(key: &str, limit: u64) -> Op {
        Op::Count { key: key.to_owned(), limit, expires: Timestamp::MAX }
    }

    fn counted(store: &File, key: &str) -> u64 {
        let keys = [key.to_owned()];
        let items = now(store.read(&keys)).unwrap();
        items.get(key).map_or(0, |item| item.body["n"].as_u64().unwrap())
    }

    fn is_whole(store: &File, run: &str) -> bool {
        let lines = now(store.run(run)).unwrap();
        let lease = now(store.read(&[format!("lease#{run}")])).unwrap().len();
        assert_eq!(lines.len(), lease, "one without the other");
        if let Some(line) = lines.first() {
            assert_eq!(*line, intent(run).records[0].1.line);
        }
        !lines.is_empty()
    }

    #[test]
    fn a_commit_cut_off_anywhere_is_carried_out_by_the_next_process() {
        let lines = intent("b").records[0].1.line.clone() + "\n";
        for written in (0..=lines.len()).step_by(37).chain([1, lines.len() - 1, lines.len()]) {
            for zeros in [0, (lines.len() - written).min(5), lines.len() - written] {
                let dir = Dir::new();
                let store = dir.open().unwrap();
                now(store.commit(&intent("a"))).unwrap();
                let commit = intent("b");
                store
                    .locked(|seen| {
                        let changes = seen.tables.changes(&commit, Timestamp::now()).unwrap();
                        store.begin(&commit, changes)
                    })
                    .unwrap();
                let mut audit = fs::OpenOptions::new().append(true).open(dir.file("audit.jsonl")).unwrap();
                audit.write_all(&lines.as_bytes()[..written]).unwrap();
                audit.write_all(&vec![0; zeros]).unwrap();
                drop(audit);

                let next = dir.open().unwrap();
                for store in [&next, &store] {
                    assert!(is_whole(store, "a") && is_whole(store, "b"), "{written} bytes, {zeros} zeros");
                    assert_eq!(counted(store, "cap#a"), 2, "{written} bytes, {zeros} zeros");
                }
                assert!(!dir.file("journal.json").exists());
            }
        }
    }

    #[test]
    fn a_commit_cut_off_behind_its_records_or_its_state_is_not_made_twice() {
        for state_too in [false, true] {
            let dir = Dir::new();
            let store = dir.open().unwrap();
            let commit = intent("a");
            let journal = store
                .locked(|seen| store.begin(&commit, seen.tables.changes(&commit, Timestamp::now()).unwrap()))
                .unwrap();
            store.append(&journal).unwrap();
            if state_too {
                let mut state = State::new();
                journal.state.apply(&mut state);
                store.write_state(&state).unwrap();
            }
            let next = dir.open().unwrap();
            assert!(is_whole(&next, "a"));
            assert_eq!(counted(&next, "cap#a"), 1);
            assert_eq!(dir.text("audit.jsonl").lines().count(), 1);
        }
    }

    #[test]
    fn a_commit_without_its_journal_has_not_happened() {
        let dir = Dir::new();
        dir.open().unwrap();
        fs::write(dir.file("journal.json.new"), "{\"audit_len\":").unwrap();
        fs::write(dir.file("state.json.new"), "{").unwrap();
        let store = dir.open().unwrap();
        assert!(!is_whole(&store, "a"));
        now(store.commit(&intent("a"))).unwrap();
        assert!(is_whole(&store, "a"));
    }

    #[test]
    fn a_damaged_file_is_named_with_its_line() {
        let dir = Dir::new();
        let store = dir.open().unwrap();
        now(store.commit(&intent("a"))).unwrap();
        let audit = dir.text("audit.jsonl");
        let state = dir.text("state.json");
        let message = |name: &str, content: &str| {
            let whole = dir.text(name);
            fs::write(dir.file(name), content).unwrap();
            let error = dir.open().err().unwrap();
            assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
            assert_eq!(fs::read_to_string(dir.file(name)).unwrap(), content, "nothing is thrown away");
            fs::write(dir.file(name), whole).unwrap();
            error.message
        };
        let cut = format!("{audit}{}", &audit[..40]);
        assert!(message("audit.jsonl", &cut).ends_with("audit.jsonl: line 2: it is cut off"));
        assert!(message("audit.jsonl", &audit[..audit.len() - 1]).contains("line 1: it is cut off"));
        assert!(message("audit.jsonl", &format!("{audit}\n")).contains("line 2: no record"));
        assert!(
            message("audit.jsonl", &format!("{{}}\n{audit}")).contains("line 1: no record: missing field")
        );
        assert!(message("state.json", &state[..state.len() - 1]).contains("state.json: EOF"));
        assert!(message("state.json", "").contains("state.json: EOF"));
        assert!(message("state.json", &state.replace("body", "bodies")).contains("unknown field `bodies`"));
        let newer = state.replace("\"version\":1", "\"version\":2");
        assert!(message("state.json", &newer).contains("version 2; this redress reads 1"));

        fs::write(
            dir.file("journal.json"),
            r#"{"audit_len":9999,"lines":"","state":{"put":{},"delete":[]}}"#,
        )
        .unwrap();
        assert!(dir.open().err().unwrap().message.contains("bytes are left of 9999"));
        let other =
            format!(r#"{{"audit_len":{},"lines":"x\n","state":{{"put":{{}},"delete":[]}}}}"#, audit.len());
        fs::write(dir.file("journal.json"), other).unwrap();
        fs::write(dir.file("audit.jsonl"), format!("{audit}y")).unwrap();
        assert!(dir.open().err().unwrap().message.contains("is not what journal.json says"));
        assert_eq!(dir.text("audit.jsonl"), format!("{audit}y"));
    }

    #[test]
    fn an_altered_record_stands_in_nobodys_way_and_shows_in_its_run() {
        let dir = Dir::new();
        let store = dir.open().unwrap();
        now(store.commit(&intent("a"))).unwrap();
        let altered = dir.text("audit.jsonl").replace("never", "NEVER");
        fs::write(dir.file("audit.jsonl"), altered).unwrap();
        now(store.commit(&intent("b"))).unwrap();
        let lines = now(dir.open().unwrap().run("a")).unwrap();
        assert!(crate::audit::verify_run(lines.iter().map(String::as_str)).is_err());
    }

    #[test]
    fn handles_at_once_never_pass_a_limit_or_lose_a_record() {
        let dir = Dir::new();
        let accepted: usize = thread::scope(|scope| {
            let workers: Vec<_> = (0..8)
                .map(|worker| {
                    let dir = &dir;
                    scope.spawn(move || {
                        let store = dir.open().unwrap();
                        (0..10)
                            .filter(|number| {
                                let mut commit = intent(&format!("{worker}-{number}"));
                                commit.ops.push(count("cap#b", 20));
                                match now(store.commit(&commit)) {
                                    Ok(()) => true,
                                    Err(CommitError::Limit(key)) if key == "cap#b" => false,
                                    Err(error) => panic!("{error}"),
                                }
                            })
                            .count()
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(accepted, 20);
        let store = dir.open().unwrap();
        assert_eq!((counted(&store, "cap#a"), counted(&store, "cap#b")), (20, 20));
        assert_eq!(now(store.scan("lease#")).unwrap().len(), 20);
        assert_eq!(dir.text("audit.jsonl").lines().count(), 20);
    }

    #[test]
    fn what_has_expired_leaves_the_file() {
        let dir = Dir::new();
        let store = dir.open().unwrap();
        let put = |key: &str, expires: &str| Op::Put {
            key: key.to_owned(),
            body: json!(1),
            etag: "1".to_owned(),
            expect: Expect::Absent,
            expires: Some(expires.parse().unwrap()),
        };
        let ops = vec![put("old", "2026-01-01T00:00:00Z"), put("new", "2999-01-01T00:00:00Z")];
        now(store.commit(&Commit { ops, records: Vec::new() })).unwrap();
        assert!(!dir.text("state.json").contains("old"));
        assert!(dir.text("state.json").contains("new"));
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_look() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = Dir::new();
        now(dir.open().unwrap().commit(&intent("a"))).unwrap();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(dir.0.clone()), 0o700);
        for name in ["lock", "audit.jsonl", "state.json"] {
            assert_eq!(mode(dir.file(name)), 0o600, "{name}");
        }
    }
}
