//! Terraform itself, where it is at hand with its providers: nothing is downloaded for it.
//!
//! The AWS provider is looked for in the folder that `REDRESS_TERRAFORM_PLUGINS` names, else in those that
//! [Terraform looks into](https://developer.hashicorp.com/terraform/cli/config/config-file#implied-local-mirror-directories)
//! by itself. Where hashicorp/archive is not beside it, a stand-in is (`tests/terraform/archive_provider.py`).

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{
    error::{Context, Error, Result},
    process::target_dir,
    venv,
};

/// The registry's part of a mirror.
const HASHICORP: &str = "registry.terraform.io/hashicorp";

/// Terraform and its providers.
#[derive(Clone, Debug)]
pub struct Terraform {
    program: PathBuf,
    config: PathBuf,
}

/// Finds Terraform; `Err` says what is missing.
///
/// # Errors
/// Where the stand-in can't be set up. The inner error is no fault: a machine need not have Terraform.
pub fn find() -> Result<std::result::Result<Terraform, String>> {
    let path = env::var_os("PATH").unwrap_or_default();
    let program = env::split_paths(&path).map(|dir| dir.join("terraform")).find(|file| file.is_file());
    let Some(program) = program else { return Ok(Err("terraform is not installed".to_owned())) };
    let home = PathBuf::from(env::var_os("HOME").unwrap_or_default());
    let named = env::var_os("REDRESS_TERRAFORM_PLUGINS").map(PathBuf::from);
    let places = [
        home.join(".terraform.d/plugins"),
        home.join(".local/share/terraform/plugins"),
        PathBuf::from("/usr/local/share/terraform/plugins"),
        PathBuf::from("/usr/share/terraform/plugins"),
    ];
    let mirror = named.into_iter().chain(places).find(|dir| dir.join(HASHICORP).join("aws").is_dir());
    let Some(mirror) = mirror else {
        return Ok(Err(
            "the AWS provider is not at hand (REDRESS_TERRAFORM_PLUGINS names a mirror)".to_owned()
        ));
    };
    let own = target_dir().join("terraform");
    let fault = || format!("`{}`", own.display());
    let plugins = own.join("plugins");
    let _ = fs::remove_dir_all(&plugins);
    let providers = plugins.join(HASHICORP);
    fs::create_dir_all(&providers).context(fault)?;
    link(&mirror.join(HASHICORP).join("aws"), &providers.join("aws")).context(fault)?;
    let archive = mirror.join(HASHICORP).join("archive");
    if archive.is_dir() {
        link(&archive, &providers.join("archive")).context(fault)?;
    } else {
        stand_in(&providers.join("archive"))?;
    }
    let config = own.join("terraform.rc");
    let text = format!(
        "provider_installation {{\n  filesystem_mirror {{\n    path = \"{}\"\n  }}\n}}\ndisable_checkpoint = true\n",
        plugins.display()
    );
    fs::write(&config, text).context(fault)?;
    Ok(Ok(Terraform { program, config }))
}

/// Versions and platforms as folders of our own, which Terraform asks for, and what is in them as links.
fn link(from: &Path, to: &Path) -> std::io::Result<()> {
    for version in fs::read_dir(from)? {
        let version = version?;
        let made = to.join(version.file_name());
        fs::create_dir_all(&made)?;
        for platform in fs::read_dir(version.path())? {
            let platform = platform?;
            symlink(platform.path(), made.join(platform.file_name()))?;
        }
    }
    Ok(())
}

fn stand_in(dir: &Path) -> Result<()> {
    const VERSION: &str = "2.7.1";
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = venv::make(&target_dir().join("terraform-venv"), &tests.join("requirements-terraform.txt"))?;
    let machine = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let dir = dir.join(VERSION).join(format!("{}_{machine}", env::consts::OS));
    let file = dir.join(format!("terraform-provider-archive_v{VERSION}"));
    let text = format!(
        "#!/bin/sh\nexec '{}' '{}'\n",
        made.program("python").display(),
        tests.join("terraform/archive_provider.py").display()
    );
    fs::create_dir_all(&dir)
        .and_then(|()| fs::write(&file, text))
        .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o755)))
        .context(|| format!("`{}`", file.display()))
}

impl Terraform {
    /// A command in a module's folder.
    pub fn command(&self, dir: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .current_dir(dir)
            .args(arguments)
            .env("TF_CLI_CONFIG_FILE", &self.config)
            .env("TF_IN_AUTOMATION", "1");
        command.env("CHECKPOINT_DISABLE", "1");
        command
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// With all that it printed, where it fails.
    pub fn run(&self, dir: &Path, arguments: &[&str]) -> Result<String> {
        let Output { status, stdout, stderr } = self
            .command(dir, arguments)
            .arg("-no-color")
            .output()
            .context(|| format!("terraform {}", arguments.join(" ")))?;
        let text = [stdout, stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        if status.success() {
            return Ok(text);
        }
        let place = dir.display();
        Err(Error::new(format!("terraform {} in `{place}`: {status}\n{text}", arguments.join(" "))))
    }
}

impl Terraform {
    /// Whether format, arguments and types are right, and the modules' own tests pass.
    ///
    /// # Errors
    /// With what Terraform says.
    pub fn check(&self) -> Result<()> {
        let work = target_dir().join("terraform/check");
        let _ = fs::remove_dir_all(&work);
        let sources = copy(&work)?;
        self.run(&sources, &["fmt", "-check", "-recursive", "-diff"])?;
        for module in modules(&sources)? {
            self.run(&module, &["init", "-backend=false", "-input=false"])?;
            self.run(&module, &["validate"])?;
        }
        let tests = self.run(&sources, &["test"])?;
        if tests.contains(" passed, 0 failed.") { Ok(()) } else { Err(Error::new(tests)) }
    }
}

/// The folders with `*.tf` files: the root module, the member module, and the examples by their names.
///
/// # Errors
/// Where the examples can't be listed.
pub fn modules(root: &Path) -> Result<Vec<PathBuf>> {
    let folder = root.join("examples");
    let mut examples = Vec::new();
    for example in fs::read_dir(&folder).context(|| format!("`{}`", folder.display()))? {
        examples.push(example.context(|| format!("`{}`", folder.display()))?.path());
    }
    examples.sort();
    let own = [root.to_owned(), root.join("modules/member")];
    Ok(own.into_iter().chain(examples).collect())
}

/// Copies the deployment and the rules that it refers to, so that Terraform's own files stay out of the sources.
///
/// # Errors
/// Names the file that can't be copied.
pub fn copy(to: &Path) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for folder in ["terraform", "rules"] {
        copy_folder(&root.join(folder), &to.join(folder))?;
    }
    Ok(to.join("terraform"))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let fault = || format!("`{}`", from.display());
    fs::create_dir_all(to).context(fault)?;
    for entry in fs::read_dir(from).context(fault)? {
        let entry = entry.context(fault)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).context(fault)?;
        }
    }
    Ok(())
}
