//! Child processes that never outlive a test: each is the leader of a process group, which is killed when
//! its handle is dropped, and when the test process itself ends in whatever way (a failed test, Ctrl-C,
//! `kill -9`).

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    net::TcpStream,
    process::Child,
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use crate::{
    background,
    error::{Context, Error, Result},
};

/// How long a killed process may take to be gone. The kernel needs a moment, never seconds.
const BURIAL: Duration = Duration::from_secs(5);
/// Logs of earlier test runs are removed after this time.
const KEEP_LOGS: Duration = Duration::from_hours(24);

/// The build directory: `CARGO_TARGET_DIR`, else `target` of the workspace.
pub fn target_dir() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    match std::env::var_os("CARGO_TARGET_DIR") {
        // Cargo takes a relative one from where it was called, which is the workspace in CI.
        Some(set) => workspace.join(set),
        None => workspace.join("target"),
    }
}

/// `target/e2e-logs`, made if absent: one file per process started, named after program, test process and
/// order. Files of earlier days are removed.
pub fn log_dir() -> Result<PathBuf> {
    static SWEPT: LazyLock<std::result::Result<PathBuf, String>> = LazyLock::new(|| {
        let dir = target_dir().join("e2e-logs");
        fs::create_dir_all(&dir).map_err(|error| format!("can't make `{}`: {error}", dir.display()))?;
        let stale = |entry: &fs::DirEntry| {
            let modified = entry.metadata().and_then(|data| data.modified());
            modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > KEEP_LOGS))
        };
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten().filter(stale) {
            // Another test process may have removed it already.
            let _ = fs::remove_file(entry.path());
        }
        Ok(dir)
    });
    SWEPT.clone().map_err(Error::new)
}

/// A path in [`log_dir`] that no other process of this or another test run uses.
pub(crate) fn log_file(name: &str, extension: &str) -> Result<PathBuf> {
    static COUNT: AtomicUsize = AtomicUsize::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Ok(log_dir()?.join(format!("{name}-{}-{count}.{extension}", std::process::id())))
}

/// A port of 127.0.0.1 that was free a moment ago. It can be taken before it is used: who starts a server
/// on it tries again with another.
pub fn free_port() -> Result<u16> {
    // Each once: of two programs that are about to listen on one port, the second would be taken for the first.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context(|| "no free port on 127.0.0.1".into())?;
        let port = listener.local_addr().context(|| "a listener without an address".into())?.port();
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return Ok(port);
        }
    }
}

/// What to start, and how.
#[derive(Clone, Debug)]
pub struct Program {
    name: String,
    path: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    bare: bool,
    dir: Option<PathBuf>,
    grace: Duration,
}

impl Program {
    /// `name` is for logs and messages.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            args: Vec::new(),
            env: Vec::new(),
            bare: false,
            dir: None,
            grace: Duration::ZERO,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Gives the process no environment but what [`Program::env`] sets and `PATH`: nothing of the
    /// developer's own AWS configuration.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    /// Its working directory.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// On drop, sends SIGTERM and waits this long before SIGKILL (default: SIGKILL at once).
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Starts it. Its output, standard error too, goes to a file of [`log_dir`].
    pub fn start(&self) -> Result<Process> {
        let log = log_file(&self.name, "log")?;
        let what = || format!("can't write `{}`", log.display());
        let out = fs::File::create(&log).context(what)?;
        let err = out.try_clone().context(what)?;
        let mut command = Command::new(&self.path);
        if self.bare {
            command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command.args(&self.args).envs(self.env.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);

        let runtime = background::handle()?;
        let _entered = runtime.enter();
        Reaper::ready()?;
        let started = Instant::now();
        let child = tokio::process::Command::from(command)
            .spawn()
            .context(|| format!("can't start `{}` ({})", self.name, self.path.display()))?;
        let pid = child.id().context(|| format!("`{}` ended before it began", self.name))?;
        Reaper::tell("add", pid);
        let (orders, received) = mpsc::unbounded_channel();
        let (ended, exit) = watch::channel(None);
        runtime.spawn(supervise(child, pid, received, ended));
        Ok(Process { name: self.name.clone(), pid, started, log, grace: self.grace, orders, exit })
    }
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Terminate,
    Kill,
}

/// Waits for the child and alone signals it, so that a signal never goes to a process id in use again.
async fn supervise(
    mut child: Child,
    pid: u32,
    mut orders: mpsc::UnboundedReceiver<Order>,
    ended: watch::Sender<Option<ExitStatus>>,
) {
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            order = orders.recv() => match order {
                Some(Order::Terminate) => Reaper::tell("term", pid),
                Some(Order::Kill) | None => {
                    let _ = child.start_kill();
                    Reaper::tell("kill", pid);
                    break child.wait().await;
                }
            },
        }
    };
    // What the leader left behind in its group, such as a server's workers.
    Reaper::tell("kill", pid);
    Reaper::tell("drop", pid);
    ended.send_replace(Some(status.unwrap_or_else(|_| unknown())));
}

/// In place of a status that the kernel did not give: exit code 255.
fn unknown() -> ExitStatus {
    ExitStatus::from_raw(255 << 8)
}

/// A running process. Dropped, it and its process group are killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    started: Instant,
    log: PathBuf,
    grace: Duration,
    orders: mpsc::UnboundedSender<Order>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Its process id, which is its group's too.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Taken directly before it was spawned.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The file with its output.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Its output so far; what is no UTF-8 is replaced.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// How it ended, if it has.
    pub fn exited(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Waits until it ends by itself.
    pub async fn wait(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        // The sender is the supervising task: it sends before it ends.
        exit.wait_for(Option::is_some).await.ok().and_then(|status| *status).unwrap_or_else(unknown)
    }

    /// Sends SIGTERM to its group, and returns at once.
    pub fn terminate(&self) {
        let _ = self.orders.send(Order::Terminate);
    }

    /// Sends SIGKILL to its group, and waits until it is gone.
    pub async fn kill(&self) -> ExitStatus {
        let _ = self.orders.send(Order::Kill);
        self.wait().await
    }

    /// SIGTERM, then SIGKILL if it is still there after `grace`.
    pub async fn stop(&self, grace: Duration) -> ExitStatus {
        self.terminate();
        match timeout(grace, self.wait()).await {
            Ok(status) => status,
            Err(_) => self.kill().await,
        }
    }

    /// Waits until the port of 127.0.0.1 takes connections. Fails as soon as the process has ended.
    pub async fn wait_for_port(&self, port: u16, patience: Duration) -> Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        self.wait_until(patience, &format!("listens on port {port}"), async || {
            TcpStream::connect(address).await.is_ok()
        })
        .await
    }

    /// Waits until it has printed a line that contains `text`. Fails as soon as the process has ended
    /// without.
    pub async fn wait_for_line(&self, text: &str, patience: Duration) -> Result<()> {
        self.wait_until(patience, &format!("prints `{text}`"), async || self.log().contains(text)).await
    }

    async fn wait_until(
        &self,
        patience: Duration,
        what: &str,
        mut met: impl AsyncFnMut() -> bool,
    ) -> Result<()> {
        let until = Instant::now() + patience;
        loop {
            let ended = self.exited();
            if met().await {
                return Ok(());
            }
            if let Some(status) = ended {
                return Err(self.complaint(&format!("ended ({status}) before it {what}")));
            }
            if Instant::now() > until {
                return Err(
                    self.complaint(&format!("was given {} s until it {what}", patience.as_secs_f32()))
                );
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// An error that ends with the last lines of the process's output.
    pub(crate) fn complaint(&self, what: &str) -> Error {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n  ");
        Error::new(format!("`{}` {what}; `{}` ends with:\n  {tail}", self.name, self.log.display()))
    }

    /// What it has used so far. Only while it runs, and only on Linux.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid).with_name(&self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let gone_within = |time: Duration| {
            let until = Instant::now() + time;
            while self.exited().is_none() && Instant::now() < until {
                thread::sleep(Duration::from_millis(1));
            }
            self.exited().is_some()
        };
        if self.exited().is_some() {
            return;
        }
        if !self.grace.is_zero() {
            self.terminate();
            if gone_within(self.grace) {
                return;
            }
        }
        let _ = self.orders.send(Order::Kill);
        gone_within(BURIAL);
    }
}

/// What a process has used since its start, from `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Peak resident memory in bytes (`VmHWM`), of this process alone: unlike `ru_maxrss`, it does not
    /// start at the size of the process that spawned it.
    pub peak_memory: u64,
    /// Resident memory in bytes now (`VmRSS`).
    pub memory: u64,
    /// Processor time, user and system together, in steps of 10 ms.
    pub cpu: Duration,
    /// Processor time of the threads alive now, to the nanosecond; zero where the kernel keeps no
    /// scheduler statistics.
    pub cpu_of_threads: Duration,
}

impl Usage {
    /// Reads the figures of a process by its id.
    pub fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let bytes = |name: &str| -> Option<u64> {
            let value = status.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
        };

        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field, the name in brackets, may hold spaces and brackets itself.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;

        let nanoseconds = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten().filter_map(|thread| {
            let line = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            line.split_ascii_whitespace().next()?.parse::<u64>().ok()
        });
        Some(Self {
            peak_memory: bytes("VmHWM:")?,
            memory: bytes("VmRSS:")?,
            // USER_HZ is 100 on every architecture that Rust's tier 1 has.
            cpu: Duration::from_millis((user + system) * 10),
            cpu_of_threads: Duration::from_nanos(nanoseconds.sum()),
        })
    }
}

trait WithName {
    fn with_name(self, name: &str) -> Result<Usage>;
}

impl WithName for Option<Usage> {
    fn with_name(self, name: &str) -> Result<Usage> {
        self.context(|| format!("can't read what `{name}` has used: it has ended, or this is not Linux"))
    }
}

/// A shell that knows the groups still running, and kills them when its input ends: however the test
/// process dies, the kernel closes the pipe. It also sends the signals to whole groups, which takes a
/// foreign function call in Rust.
struct Reaper {
    orders: ChildStdin,
    done: BufReader<ChildStdout>,
}

const REAPER: &str = r#"
groups=
while read -r order group; do
  case $order in
    add) groups="$groups $group" ;;
    drop) left=; for g in $groups; do [ "$g" = "$group" ] || left="$left $g"; done; groups=$left ;;
    term) kill -s TERM -- "-$group" ;;
    kill) kill -s KILL -- "-$group" ;;
  esac
  echo done
done
for g in $groups; do kill -s KILL -- "-$g"; done
"#;

static THE_REAPER: LazyLock<std::result::Result<Mutex<Reaper>, String>> = LazyLock::new(|| {
    let shell = Command::new("sh")
        .args(["-c", REAPER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // Out of the terminal's group: Ctrl-C must not end it before its input does.
        .process_group(0)
        .spawn()
        .map_err(|error| format!("can't start `sh`, which cleans up after the tests: {error}"))?;
    match (shell.stdin, shell.stdout) {
        (Some(orders), Some(done)) => Ok(Mutex::new(Reaper { orders, done: BufReader::new(done) })),
        _ => Err("`sh` was started without pipes".to_owned()),
    }
});

impl Reaper {
    fn get() -> Result<MutexGuard<'static, Self>> {
        match &*THE_REAPER {
            Ok(reaper) => Ok(reaper.lock().unwrap_or_else(PoisonError::into_inner)),
            Err(error) => Err(Error::new(error.clone())),
        }
    }

    /// Starts it if need be, so that its start doesn't fall into what is measured.
    fn ready() -> Result<()> {
        Self::get().and_then(|mut reaper| reaper.order("ready", 0))
    }

    /// A signal to a group that has ended meanwhile is no failure, and a lost one leaves the child's own
    /// SIGKILL.
    fn tell(order: &str, group: u32) {
        let _ = Self::get().and_then(|mut reaper| reaper.order(order, group));
    }

    fn order(&mut self, order: &str, group: u32) -> Result<()> {
        let what = || "the shell that cleans up after the tests is gone".to_owned();
        writeln!(self.orders, "{order} {group}").context(what)?;
        self.done.read_line(&mut String::new()).context(what)?;
        Ok(())
    }
}
