//! The Lambda function's settings: `REDRESS_*` environment variables.
//!
//! | variable | meaning | without it |
//! |---|---|---|
//! | `REDRESS_CEILING` | `off`, `plan` or `apply`: no run goes further | `plan` |
//! | `REDRESS_RULES` | a rules file, or a folder of them | the rules built in |
//! | `REDRESS_RULES_HASH` | the hash that these rules must have, or the function does not start | any |
//! | `REDRESS_DEPLOYMENT` | the deployment's name, told by `redress doctor` | none |
//! | `REDRESS_MEMBER_ACCOUNTS` | accounts that are served, with commas between; `redress doctor` tries the role of each | none |
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
    rules::{Mode, RuleSet, RulesError},
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
    /// The hash that the rules must have, because the event patterns were made of rules with that hash.
    pub rules_hash: Option<String>,
    /// The deployment's name.
    pub deployment: Option<String>,
    /// Accounts whose findings are served.
    pub member_accounts: Vec<String>,
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
        let mut member_accounts = Vec::new();
        for account in get("REDRESS_MEMBER_ACCOUNTS")?.iter().flat_map(|list| list.split(',')) {
            let account = account.trim();
            if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
                let what = format!("`{}` is no account id of 12 digits", account.escape_debug());
                return Err(ConfigError { variable: "REDRESS_MEMBER_ACCOUNTS", what });
            }
            member_accounts.push(account.to_owned());
        }
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
            rules_hash: get("REDRESS_RULES_HASH")?,
            deployment: get("REDRESS_DEPLOYMENT")?,
            member_accounts,
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
    /// Names the file, the place and the fault; or both hashes, where the rules are not those that the event
    /// patterns were made of.
    pub fn load_rules(&self) -> Result<RuleSet, RulesError> {
        let rules = match &self.rules {
            Some(path) => RuleSet::load(path, REGISTRY),
            None => RuleSet::builtin(),
        }?;
        match &self.rules_hash {
            Some(wanted) if **wanted != *rules.hash => Err(RulesError {
                file: self.rules.as_ref().map_or("built in".to_owned(), |path| path.display().to_string()),
                what: format!(
                    "these rules have the hash {}, and REDRESS_RULES_HASH is {}: the layer and the event patterns \
                     are not of one deployment; apply it again",
                    rules.hash,
                    wanted.escape_debug()
                ),
            }),
            _ => Ok(rules),
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
    fn rules_of_another_deployment_are_refused_with_both_hashes() {
        let own = RuleSet::builtin().unwrap().hash;
        assert!(read(&[("REDRESS_RULES_HASH", &own)]).unwrap().load_rules().is_ok());
        let config = read(&[("REDRESS_RULES_HASH", "0123456789abcdef")]).unwrap();
        let error = config.load_rules().unwrap_err().to_string();
        assert!(error.contains(&*own) && error.contains("0123456789abcdef"), "{error}");
    }

    #[test]
    fn member_accounts_are_ids() {
        let accounts = |text| read(&[("REDRESS_MEMBER_ACCOUNTS", text)]).map(|config| config.member_accounts);
        assert_eq!(accounts("").unwrap(), [""; 0]);
        assert_eq!(accounts("123456789012, 012345678901").unwrap(), ["123456789012", "012345678901"]);
        let error = accounts("123456789012,12345").unwrap_err().to_string();
        assert_eq!(error, "REDRESS_MEMBER_ACCOUNTS: `12345` is no account id of 12 digits");
    }

    #[test]
    fn nothing_is_applied_that_could_not_be_recorded() {
        let error = read(&[("REDRESS_CEILING", "apply")]).unwrap_err();
        assert!(error.to_string().contains("needs REDRESS_STATE_TABLE"), "{error}");
    }
}
