//! Findings, from wherever they are given.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use redress_router::{
    event::{Decoded, MAX_INPUT, decode_many},
    finding::Finding,
};

use crate::{
    Surroundings,
    args::Findings,
    context::Context,
    exit::{Failure, Result},
    hub,
    output::progress,
};

/// One finding as it was given, or why it is none that anything could be done about.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// The file, `-`, or Security Hub.
    pub(crate) source: String,
    pub(crate) what: What,
}

/// See [`Given`].
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A finding of a control.
    Finding(Box<Finding>),
    /// Something else, which is no error.
    Ignored(String),
    /// It can't be read or believed.
    Invalid(String),
}

impl Given {
    fn new(source: &str, decoded: Decoded) -> Self {
        let what = match decoded {
            Decoded::Finding(finding) => What::Finding(finding),
            Decoded::Ignored(ignored) => What::Ignored(ignored.to_string()),
            Decoded::Invalid(invalid) => What::Invalid(invalid.to_string()),
        };
        Self { source: source.to_owned(), what }
    }

    pub(crate) fn finding(source: &str, finding: Finding) -> Self {
        Self { source: source.to_owned(), what: What::Finding(Box::new(finding)) }
    }
}

/// Reads what the arguments name in files. Before AWS is called at all: what can't be read needs no caller.
pub(crate) fn local(wanted: &Findings, around: &mut Surroundings) -> Result<Vec<Given>> {
    if !wanted.is_live() && wanted.files.is_empty() {
        return Err(Failure::input(
            "no findings: name files, `-` for standard input, or a filter such as --control S3.14",
        ));
    }
    files(&wanted.files, around)
}

/// Reads what the arguments ask of Security Hub.
pub(crate) async fn live(
    wanted: &Findings,
    context: &Context,
    around: &mut Surroundings,
) -> Result<Vec<Given>> {
    if !wanted.is_live() {
        return Ok(Vec::new());
    }
    let bar = progress(around, None, "asking Security Hub");
    let rules = &context.engine.rules;
    let count = |number: usize| bar.set_message(format!("asking Security Hub: {number} findings"));
    let found = Box::pin(hub::findings(&context.reach.aws, wanted, rules, count)).await;
    bar.finish_and_clear();
    Ok(found?.into_iter().map(|decoded| Given::new("Security Hub", decoded)).collect())
}

/// Reads files of findings. One that can't be read as a whole is a failure; a single finding that can't is
/// not.
pub(crate) fn files(files: &[PathBuf], around: &mut Surroundings) -> Result<Vec<Given>> {
    let mut given = Vec::new();
    for path in files {
        let bytes = bytes(path, around)?;
        let source = name(path);
        let decoded = decode_many(&bytes).map_err(|error| Failure::from(error).context(&source))?;
        given.extend(decoded.into_iter().map(|decoded| Given::new(&source, decoded)));
    }
    Ok(given)
}

/// A file's whole content, or that of standard input. What is larger than any input may be is not read on.
pub(crate) fn bytes(path: &Path, around: &mut Surroundings) -> Result<Vec<u8>> {
    let most = u64::try_from(MAX_INPUT).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        around.input.by_ref().take(most).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::input(format!("{}: {error}", name(path))))?;
    Ok(bytes)
}

pub(crate) fn name(path: &Path) -> String {
    if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() }
}
