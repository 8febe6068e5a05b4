//! Makes what [`terraform`](crate::terraform) evaluates in a ministack, so that a machine without Terraform runs
//! the very deployment that its sources describe.

use std::{
    collections::HashMap,
    fmt, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};

use crate::{
    deployment::binary,
    error::{Context, Error, Result},
    process::target_dir,
    terraform::{Object, Provider, Resource},
    venv::{self, Kind},
};

/// The folder of packages, with the function of this build.
///
/// # Errors
/// Where it does not build, or can't be packed.
pub fn packages() -> Result<PathBuf> {
    static MADE: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(folder) = &*made {
        return Ok(folder.clone());
    }
    let program = binary("dispatcher")?;
    let folder = target_dir().join("deployment-packages");
    let fault = || "the function's package".to_owned();
    fs::create_dir_all(folder.join("x86_64")).context(fault)?;
    let file = fs::File::create(folder.join("x86_64/dispatcher.zip")).context(fault)?;
    let mut archive = zip::ZipWriter::new(file);
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755).compression_level(Some(1));
    archive.start_file("bootstrap", options).context(fault)?;
    archive.write_all(&fs::read(program).context(fault)?).context(fault)?;
    archive.finish().context(fault)?;
    *made = Some(folder.clone());
    Ok(folder)
}

/// Makes resources, each in the account of its provider configuration.
pub struct Applier {
    region: String,
    accounts: HashMap<String, String>,
    process: Mutex<Process>,
}

struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl fmt::Debug for Applier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Applier").field("accounts", &self.accounts).finish_non_exhaustive()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Applier {
    /// Begins to make things in the ministack at `url`, and custom actions in the Security Hub at `hub`.
    /// `accounts` are those of the root module's provider configurations: `aws`, `aws.workload`.
    ///
    /// # Errors
    /// Where Python can't be started.
    pub fn start(url: &str, hub: &str, region: &str, accounts: &[(&str, &str)]) -> Result<Self> {
        let venv = venv::get_blocking(Kind::EndToEnd)?;
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("terraform/applier.py");
        let mut child = Command::new(venv.program("python"))
            .arg(program)
            .args([url, hub, region])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context(|| "applier.py".to_owned())?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let input = input.context(|| "applier.py has no input".to_owned())?;
        let output = BufReader::new(output.context(|| "applier.py has no output".to_owned())?);
        let accounts = accounts.iter().map(|(name, id)| ((*name).to_owned(), (*id).to_owned()));
        Ok(Self {
            region: region.to_owned(),
            accounts: accounts.collect(),
            process: Mutex::new(Process { child, input, output }),
        })
    }

    fn account(&self, resource: &Resource) -> Result<&str> {
        let found = self.accounts.get(&resource.provider);
        found.map(String::as_str).context(|| format!("{resource}: `{}` has no account", resource.provider))
    }
}

impl Applier {
    /// One call of an AWS service as the root of an account, by boto3's names, such as `put_events`.
    ///
    /// # Errors
    /// With what the service says.
    pub fn call(&self, account: &str, service: &str, operation: &str, arguments: &Value) -> Result<Object> {
        let asked = json!({
            "service": service, "operation": operation, "account": account, "arguments": arguments,
        });
        self.ask(&format!("{service} {operation}"), &asked)
    }

    fn ask(&self, what: &str, asked: &Value) -> Result<Object> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = String::new();
        let fault = || format!("{what}: applier.py");
        writeln!(process.input, "{asked}").context(fault)?;
        process.output.read_line(&mut line).context(fault)?;
        let mut answer: Value = serde_json::from_str(&line).context(fault)?;
        if let Some(error) = answer["error"].as_str() {
            return Err(Error::new(format!("{what}: {error}")));
        }
        match answer["attributes"].take() {
            Value::Object(attributes) => Ok(attributes),
            other => Err(Error::new(format!("{what}: {other} are no attributes"))),
        }
    }
}

impl Provider for Applier {
    fn create(&self, resource: &Resource) -> Result<Object> {
        let asked = json!({
            "kind": resource.kind, "account": self.account(resource)?, "arguments": resource.arguments,
        });
        self.ask(&resource.address, &asked)
    }

    fn read(&self, data: &Resource) -> Result<Object> {
        let imagined = crate::terraform::Imagined {
            account: self.account(data)?.to_owned(),
            region: self.region.clone(),
        };
        imagined.read(data)
    }
}
