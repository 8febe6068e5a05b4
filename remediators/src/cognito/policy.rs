//! When users of a pool count as inactive, and what becomes of them: what a rule says in `params`.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;

use crate::LastSeen;

/// A rule's parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Params")]
pub struct Policy {
    /// Groups of the pool whose members are never disabled, as they are spelt there.
    pub protected_groups: BTreeSet<String>,
    /// The custom attribute that exempts a user: whoever has it set, to anything but `false`, is never
    /// disabled. A pool that has no such attribute exempts nobody by it.
    #[schemars(regex(pattern = "^(dev:)?custom:."))]
    pub exempt_attribute: String,
    /// Also disable users who sign in by an identity provider outside the pool. Off, because the provider is
    /// where their access ends: disabled here, they are locked out although it lets them in.
    pub federated: bool,
    /// End the user's sessions as well: their refresh tokens stay void, also after an undo.
    pub sign_out: bool,
    /// For how many days a user must not have been seen.
    #[schemars(range(min = 1, max = 3650))]
    pub inactive_days: u16,
    /// The same for users of whom no sign-in is known, from the day of their creation; `inactive_days` where
    /// it is not set.
    #[schemars(range(min = 1, max = 3650))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub never_signed_in_days: Option<u16>,
    /// For how many days more an inactive user is left alone by the automatic door. A person need not wait.
    #[schemars(range(max = 3650))]
    pub grace_days: u16,
    /// How many days before it disables a user the automatic door announces it, by an outcome event; 0 for no
    /// announcement. Nobody is disabled earlier than so many days after it.
    #[schemars(range(max = 365))]
    pub warn_days: u16,
    /// What becomes of an inactive user.
    pub through: Through,
}

/// The way that an inactive user takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Through {
    /// A finding in Security Hub, which is then routed like any other: for a person's custom action, or for
    /// this very rule.
    #[default]
    Finding,
    /// The engine at once. Security Hub is not needed and hears nothing.
    Engine,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            protected_groups: BTreeSet::new(),
            exempt_attribute: "custom:redress_exempt".to_owned(),
            federated: false,
            sign_out: false,
            inactive_days: 90,
            never_signed_in_days: None,
            grace_days: 0,
            warn_days: 0,
            through: Through::Finding,
        }
    }
}

/// The days that a policy gives one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// When it is announced, if it is, and has not been.
    pub warn_at: Option<Timestamp>,
    /// When the user counts as inactive.
    pub due_at: Timestamp,
    /// When the automatic door disables the user; not before the announcement has stood for its days.
    pub disable_at: Timestamp,
}

impl Policy {
    /// The policy of a rule with these `params`.
    ///
    /// # Errors
    /// Where they are none.
    pub fn of(params: &Value) -> serde_json::Result<Self> {
        if params.is_null() { Ok(Self::default()) } else { Self::deserialize(params) }
    }

    /// For how long a user must not have been seen.
    pub fn threshold(&self, signed_in: bool) -> SignedDuration {
        let never = self.never_signed_in_days.filter(|_| !signed_in);
        days(never.unwrap_or(self.inactive_days))
    }

    /// The days of a user who was last seen then. `at` is now: an announcement that comes late pushes the
    /// rest on.
    pub fn schedule(&self, seen: &LastSeen, at: Timestamp) -> Schedule {
        let due_at = later(seen.since, self.threshold(seen.signed_in));
        let disable_at = later(due_at, days(self.grace_days));
        // An announcement from before the user was last seen is none.
        let warned = seen.warned.filter(|warned| *warned >= seen.since);
        match (self.warn_days, warned) {
            (0, _) => Schedule { warn_at: None, due_at, disable_at },
            (ahead, Some(warned)) => {
                Schedule { warn_at: None, due_at, disable_at: disable_at.max(later(warned, days(ahead))) }
            }
            (ahead, None) => {
                let warn_at = later(disable_at, -days(ahead)).max(seen.since);
                Schedule {
                    warn_at: Some(warn_at),
                    due_at,
                    disable_at: disable_at.max(later(warn_at.max(at), days(ahead))),
                }
            }
        }
    }
}

impl Schedule {
    /// The first of the days that is still to come; `None` where all have come.
    pub fn next(&self, at: Timestamp) -> Option<Timestamp> {
        [self.warn_at, Some(self.due_at), Some(self.disable_at)]
            .into_iter()
            .flatten()
            .filter(|day| *day > at)
            .min()
    }
}

fn days(days: u16) -> SignedDuration {
    SignedDuration::from_hours(24 * i64::from(days))
}

/// Beyond the end of time, the end of time.
fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// A policy as it is read, before its fields are held to each other. Of [`Policy`] itself, this would be a
/// second `Policy::deserialize`, which a caller takes for the one that checks.
#[derive(Deserialize)]
#[serde(remote = "Policy", deny_unknown_fields, default = "Policy::default")]
struct OnDisk {
    protected_groups: BTreeSet<String>,
    #[serde(deserialize_with = "custom_attribute")]
    exempt_attribute: String,
    federated: bool,
    sign_out: bool,
    #[serde(deserialize_with = "between::<1, 3650, _>")]
    inactive_days: u16,
    #[serde(deserialize_with = "perhaps")]
    never_signed_in_days: Option<u16>,
    #[serde(deserialize_with = "between::<0, 3650, _>")]
    grace_days: u16,
    #[serde(deserialize_with = "between::<0, 365, _>")]
    warn_days: u16,
    through: Through,
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let policy = OnDisk::deserialize(deserializer)?;
        let Self { inactive_days, never_signed_in_days, grace_days, warn_days, .. } = policy;
        let shortest = inactive_days.min(never_signed_in_days.unwrap_or(inactive_days));
        if warn_days > shortest.saturating_add(grace_days) {
            return Err(D::Error::custom(format!(
                "`warn_days` is {warn_days}, but a user is disabled {} days after it was last seen",
                shortest.saturating_add(grace_days)
            )));
        }
        Ok(policy)
    }
}

fn between<'de, const LEAST: u16, const MOST: u16, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    let days = u16::deserialize(from)?;
    if (LEAST..=MOST).contains(&days) {
        return Ok(days);
    }
    Err(D::Error::custom(format!("{days} days; it is {LEAST} to {MOST}")))
}

fn perhaps<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u16>, D::Error> {
    between::<1, 3650, D>(from).map(Some)
}

/// Of all other attributes, the state does not say whether they are set: an exemption by one would be none.
fn custom_attribute<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    match name.strip_prefix("dev:").unwrap_or(&name).strip_prefix("custom:") {
        Some(rest) if !rest.is_empty() => Ok(name),
        _ => Err(D::Error::custom(format!(
            "`{}` is no custom attribute: its name begins with `custom:`",
            name.escape_debug()
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn at(day: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * day)
    }

    fn seen(day: i64) -> LastSeen {
        LastSeen { since: at(day), signed_in: true, warned: None, in_doubt: None }
    }

    fn policy(inactive_days: u16, grace_days: u16, warn_days: u16) -> Policy {
        Policy { inactive_days, grace_days, warn_days, ..Policy::default() }
    }

    #[test]
    fn without_warning_or_grace_there_is_one_day() {
        let schedule = policy(90, 0, 0).schedule(&seen(0), at(10));
        assert_eq!(schedule, Schedule { warn_at: None, due_at: at(90), disable_at: at(90) });
        assert_eq!(schedule.next(at(10)), Some(at(90)));
        assert_eq!(schedule.next(at(90)), None);
    }

    #[test]
    fn warned_then_due_then_disabled() {
        let schedule = policy(90, 14, 7).schedule(&seen(0), at(10));
        assert_eq!(schedule, Schedule { warn_at: Some(at(97)), due_at: at(90), disable_at: at(104) });
        assert_eq!(schedule.next(at(10)), Some(at(90)));
        assert_eq!(schedule.next(at(91)), Some(at(97)));
    }

    #[test]
    fn who_is_warned_late_gets_all_the_days() {
        let policy = policy(90, 0, 7);
        assert_eq!(policy.schedule(&seen(0), at(200)).disable_at, at(207));
        let warned = LastSeen { warned: Some(at(200)), ..seen(0) };
        assert_eq!(policy.schedule(&warned, at(230)).disable_at, at(207));
        // The warning belongs to an absence that has ended.
        let back = LastSeen { warned: Some(at(200)), ..seen(201) };
        assert_eq!(policy.schedule(&back, at(202)).warn_at, Some(at(284)));
    }

    #[test]
    fn who_never_signed_in_has_another_threshold() {
        let policy = Policy { never_signed_in_days: Some(30), ..Policy::default() };
        let never = LastSeen { signed_in: false, ..seen(0) };
        assert_eq!(policy.schedule(&never, at(0)).due_at, at(30));
        assert_eq!(policy.schedule(&seen(0), at(0)).due_at, at(90));
        assert_eq!(Policy::default().schedule(&never, at(0)).due_at, at(90));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let read = |text: &str| serde_json::from_str::<Policy>(text);
        assert_eq!(read("{}").unwrap(), Policy::default());
        assert!(read(r#"{"exempt_attribute": "dev:custom:keep"}"#).is_ok());
        for (text, why) in [
            (r#"{"inactive_days": 0}"#, "1 to 3650"),
            (r#"{"inactive_days": 4000}"#, "1 to 3650"),
            (r#"{"never_signed_in_days": 0}"#, "1 to 3650"),
            (r#"{"warn_days": 366}"#, "0 to 365"),
            (r#"{"inactive_days": 5, "warn_days": 6}"#, "`warn_days` is 6"),
            (r#"{"never_signed_in_days": 5, "warn_days": 6}"#, "after 5|disabled 5 days"),
            (r#"{"through": "mail"}"#, "unknown variant"),
            (r#"{"inactive": 5}"#, "unknown field"),
            (r#"{"exempt_attribute": "email"}"#, "custom attribute"),
            (r#"{"exempt_attribute": "custom:"}"#, "custom attribute"),
            (r#"{"exempt_attribute": ""}"#, "custom attribute"),
            (r#"{"exempt_attribute": "dev:email"}"#, "custom attribute"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(why.split('|').any(|why| error.contains(why)), "{text}: {error}");
        }
    }

    #[test]
    fn the_end_of_time_is_no_fault() {
        let far = LastSeen { since: Timestamp::MAX, ..seen(0) };
        assert_eq!(policy(90, 14, 7).schedule(&far, at(0)).due_at, Timestamp::MAX);
    }
}
