//! The Lambda function's settings: `REDRESS_*` environment variables.
//!
//! | variable | meaning | without it |
//! |---|---|---|
//! | `REDRESS_CEILING` | `off`, `plan` or `apply`: no run goes further | `plan` |
//! | `REDRESS_RULES` | a rules file, or a folder of them | the rules built in |
//! | `REDRESS_STATE_TABLE` | DynamoDB table of leases, holds, caps | in memory: ceiling `plan` |
//! | `REDRESS_AUDIT_TABLE` | DynamoDB table of records | in memory: ceiling `plan` |
//! | `REDRESS_RETENTION_DAYS` | for how long records are kept | `400` |
//! | `REDRESS_ACTIVITY_TABLE` | DynamoDB table of users' last activity | inactive users are refused |
//! | `REDRESS_MEMBER_ROLE` | role assumed in the finding's account | the function's own role |
//! | `REDRESS_EXTERNAL_ID` | external id for that role | none |
//! | `REDRESS_WRITE_BACK` | `on` or `off`: notes, fields and workflow on findings | `off` |
//! | `REDRESS_EVENT_BUS` | event bus that gets an event per outcome | none |
//! | `REDRESS_QUEUE_URL` | the queue whose messages' visibility is set on a retry | left as it is |
//! | `REDRESS_DEAD_LETTER_URL` | the queue for messages that can't be decoded | the message fails |
//! | `REDRESS_CA_BUNDLE` | PEM file of certificate authorities, or `system` | Amazon's own |
//! | `REDRESS_LOG` | `error`, `warn`, `info`, `debug`, `trace`; records are logged at any of them | `info` |
//! | `REDRESS_USER_UPDATES_PER_SECOND` | redress's share of Cognito's 25 user updates a second | `10` |
//! | `REDRESS_SIGN_IN_WINDOW_SECONDS` | how long after a user was disabled a sign-in from before is waited for | `15` |
//! | `REDRESS_SETTLE_SECONDS` | how long a change is looked for before the event goes back | `45` |
//!
//! A value that can't be read stops the function at its start: it fails closed, and says which.

use std::{env::VarError, path::PathBuf, time::Duration};

use redress_remediators::{REGISTRY, cognito::USER_UPDATE};

use crate::{
    aws::{MemberRole, Roots},
    report::Channels,
    rules::{Mode, RuleSet},
};

/// Two tables, and for how long records are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// Leases, holds, caps, memos.
    pub state: String,
    /// Records.
    pub audit: String,
    /// Days that records are kept.
    pub retention_days: u32,
}

/// The function's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// No run goes further.
    pub ceiling: Mode,
    /// Where rules are; `None` for those built in.
    pub rules: Option<PathBuf>,
    /// Where state and records are; `None` for memory.
    pub tables: Option<Tables>,
    /// The table of users' last activity.
    pub activity_table: Option<String>,
    /// The role in the finding's account; `None` for the function's own.
    pub member_role: Option<MemberRole>,
    /// Where outcomes are told.
    pub channels: Channels,
    /// The queue that the function reads.
    pub queue_url: Option<String>,
    /// Where messages go that can't be decoded.
    pub dead_letter_url: Option<String>,
    /// Which certificate authorities are believed.
    pub roots: Roots,
    /// How long a change is looked for.
    pub settle: Duration,
    /// Redress's share of Cognito's user updates, in requests a second.
    pub user_updates: u32,
    /// How long after a user was disabled a sign-in from before is waited for.
    pub sign_in_window: Duration,
}

/// A variable that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {what}")]
pub struct ConfigError {
    /// The variable.
    pub variable: &'static str,
    /// What is wrong with it.
    pub what: String,
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Names the variable and what is wrong.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(&|name| match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err("is not UTF-8".to_owned()),
        })
    }

    /// Reads variables from `lookup`. Empty ones count as absent: that is how Terraform leaves them out.
    ///
    /// # Errors
    /// Names the variable and what is wrong.
    pub fn read(lookup: &dyn Fn(&str) -> Result<Option<String>, String>) -> Result<Self, ConfigError> {
        let get = |variable: &'static str| match lookup(variable) {
            Ok(value) => Ok(value.filter(|value| !value.is_empty())),
            Err(what) => Err(ConfigError { variable, what }),
        };
        let number = |variable: &'static str, default: u32, most: u32| match get(variable)? {
            None => Ok(default),
            Some(text) => match text.parse::<u32>() {
                Ok(number) if (1..=most).contains(&number) => Ok(number),
                _ => {
                    let what = format!("`{}` is no number from 1 to {most}", text.escape_debug());
                    Err(ConfigError { variable, what })
                }
            },
        };
        let one_of = |variable: &'static str, text: &str, words: &str| ConfigError {
            variable,
            what: format!("`{}` is none of {words}", text.escape_debug()),
        };
        let ceiling = match get("REDRESS_CEILING")?.as_deref() {
            None | Some("plan") => Mode::Plan,
            Some("off") => Mode::Off,
            Some("apply") => Mode::Apply,
            Some(other) => return Err(one_of("REDRESS_CEILING", other, "off, plan, apply")),
        };
        let findings = match get("REDRESS_WRITE_BACK")?.as_deref() {
            None | Some("off") => false,
            Some("on") => true,
            Some(other) => return Err(one_of("REDRESS_WRITE_BACK", other, "on, off")),
        };
        let tables = match (get("REDRESS_STATE_TABLE")?, get("REDRESS_AUDIT_TABLE")?) {
            (Some(state), Some(audit)) => {
                let retention_days = number("REDRESS_RETENTION_DAYS", 400, 36_500)?;
                Some(Tables { state, audit, retention_days })
            }
            (None, None) => None,
            (Some(_), None) => {
                let what = "is needed beside REDRESS_STATE_TABLE".to_owned();
                return Err(ConfigError { variable: "REDRESS_AUDIT_TABLE", what });
            }
            (None, Some(_)) => {
                let what = "is needed beside REDRESS_AUDIT_TABLE".to_owned();
                return Err(ConfigError { variable: "REDRESS_STATE_TABLE", what });
            }
        };
        if tables.is_none() && ceiling == Mode::Apply {
            let what = "`apply` needs REDRESS_STATE_TABLE and REDRESS_AUDIT_TABLE: nothing is written \
                        that could not be recorded"
                .to_owned();
            return Err(ConfigError { variable: "REDRESS_CEILING", what });
        }
        let external_id = get("REDRESS_EXTERNAL_ID")?;
        let roots = match get("REDRESS_CA_BUNDLE")?.as_deref() {
            None => Roots::Amazon,
            Some("system") => Roots::System,
            Some(path) => {
                let pem = std::fs::read(path).map_err(|error| ConfigError {
                    variable: "REDRESS_CA_BUNDLE",
                    what: format!("`{}`: {error}", path.escape_debug()),
                })?;
                Roots::Pem(pem)
            }
        };
        Ok(Self {
            ceiling,
            rules: get("REDRESS_RULES")?.map(PathBuf::from),
            tables,
            activity_table: get("REDRESS_ACTIVITY_TABLE")?,
            member_role: get("REDRESS_MEMBER_ROLE")?.map(|name| MemberRole { name, external_id }),
            channels: Channels { findings, bus: get("REDRESS_EVENT_BUS")? },
            queue_url: get("REDRESS_QUEUE_URL")?,
            dead_letter_url: get("REDRESS_DEAD_LETTER_URL")?,
            roots,
            settle: Duration::from_secs(number("REDRESS_SETTLE_SECONDS", 45, 840)?.into()),
            user_updates: number(
                "REDRESS_USER_UPDATES_PER_SECOND",
                USER_UPDATE.share,
                USER_UPDATE.per_second,
            )?,
            sign_in_window: Duration::from_secs(number("REDRESS_SIGN_IN_WINDOW_SECONDS", 15, 300)?.into()),
        })
    }

    /// The rules that the settings name.
    ///
    /// # Errors
    /// Names the file, the place and the fault.
    pub fn load_rules(&self) -> Result<RuleSet, crate::rules::RulesError> {
        match &self.rules {
            Some(path) => RuleSet::load(path, REGISTRY),
            None => RuleSet::builtin(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let found = |name: &str| {
            let value = variables.iter().find(|(known, _)| *known == name);
            Ok(value.map(|(_, value)| (*value).to_owned()))
        };
        Config::read(&found)
    }

    #[test]
    fn without_variables_it_plans_by_the_rules_built_in() {
        let config = read(&[("REDRESS_RULES", "")]).unwrap();
        assert_eq!(config.ceiling, Mode::Plan);
        assert!(config.tables.is_none() && !config.channels.findings && config.channels.bus.is_none());
        assert!(!config.load_rules().unwrap().rules.is_empty());
    }

    #[test]
    fn a_value_that_cannot_be_read_is_named() {
        let text = |variables| read(variables).unwrap_err().to_string();
        assert_eq!(
            text(&[("REDRESS_CEILING", "aply")]),
            "REDRESS_CEILING: `aply` is none of off, plan, apply"
        );
        assert!(text(&[("REDRESS_STATE_TABLE", "s")]).starts_with("REDRESS_AUDIT_TABLE: is needed"));
        assert!(text(&[("REDRESS_SETTLE_SECONDS", "0")]).contains("1 to 840"));
        assert!(text(&[("REDRESS_CA_BUNDLE", "/no/such.pem")]).starts_with("REDRESS_CA_BUNDLE"));
    }

    #[test]
    fn nothing_is_applied_that_could_not_be_recorded() {
        let error = read(&[("REDRESS_CEILING", "apply")]).unwrap_err();
        assert!(error.to_string().contains("needs REDRESS_STATE_TABLE"), "{error}");
    }
}
