//! How a command ends.

use std::{io, process::ExitCode};

use redress_remediators::{Error, ErrorKind};
use redress_router::{
    config::ConfigError,
    event::{InvalidEvent, shown},
    rules::RulesError,
    store::Unread,
};

/// The exit codes, for `--help` and the documents.
pub(crate) const TABLE: &str = "\
Exit codes:
  0  done, or nothing to do (compliant, skipped, waiting, exempt and held resources included)
  1  something failed, or could not be seen fixed in time; a broken chain of records;
     a failed test of rules
  2  changes are pending (plan --detailed-exitcode only)
  3  bad input: arguments, findings, rules, plan file, a run or resource that is not known
  4  denied: no credentials, or ones that may not do it
  5  refused by rules, guard, remediator or the person asked; nothing of that was changed
Where several apply, the first of 1, 4, 3, 2, 5 counts.";

/// How a command ended. The numbers are the process's exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// Something failed.
    Failed = 1,
    /// Changes are pending: `plan --detailed-exitcode` only.
    Pending = 2,
    /// Arguments, files or names that can't be used.
    Input = 3,
    /// No credentials, or ones that may not do it.
    Denied = 4,
    /// Rules, guard, remediator or the person asked said no.
    Refused = 5,
}

impl Exit {
    /// Of two ends the one that the process reports.
    pub(crate) fn and(self, other: Self) -> Self {
        let weight = |exit: Self| match exit {
            Self::Failed => 5,
            Self::Denied => 4,
            Self::Input => 3,
            Self::Pending => 2,
            Self::Refused => 1,
            Self::Done => 0,
        };
        if weight(other) > weight(self) { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ends before its work: one line.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) broken_pipe: bool,
}

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), broken_pipe: false }
    }

    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::new(Exit::Input, message)
    }

    /// The same failure, with what it is about before it.
    pub(crate) fn context(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let broken_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        Self { exit: Exit::Failed, message: error.to_string(), broken_pipe }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error.kind {
            ErrorKind::Denied => Exit::Denied,
            ErrorKind::Invalid => Exit::Input,
            _ => Exit::Failed,
        };
        Self::new(exit, shown(&error.message))
    }
}

impl From<Unread> for Failure {
    fn from(error: Unread) -> Self {
        match error {
            Unread::Store(error) => error.into(),
            broken @ Unread::Broken { .. } => Self::new(Exit::Failed, shown(&broken.to_string())),
        }
    }
}

impl From<RulesError> for Failure {
    fn from(error: RulesError) -> Self {
        // Names of fields and files are whatever somebody has written.
        Self::input(crate::output::text::whole(&error.to_string().replace('\n', " ")))
    }
}

impl From<InvalidEvent> for Failure {
    fn from(error: InvalidEvent) -> Self {
        Self::input(error.to_string())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::input(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_end_counts() {
        let order = [Exit::Failed, Exit::Denied, Exit::Input, Exit::Pending, Exit::Refused, Exit::Done];
        for (at, graver) in order.iter().enumerate() {
            for other in order.iter().skip(at) {
                assert_eq!(graver.and(*other), *graver);
                assert_eq!(other.and(*graver), *graver);
            }
        }
    }

    #[test]
    fn the_table_tells_the_numbers() {
        for (number, word) in [
            (Exit::Done, "done"),
            (Exit::Failed, "something failed"),
            (Exit::Pending, "changes are pending"),
            (Exit::Input, "bad input"),
            (Exit::Denied, "denied"),
            (Exit::Refused, "refused"),
        ] {
            assert!(TABLE.contains(&format!("  {}  {word}", number as u8)), "{number:?}");
        }
    }
}
