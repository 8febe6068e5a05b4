//! Access keys of IAM users: what is known of them, and switching them off and on.

use std::collections::BTreeMap;

use aws_sdk_iam::{primitives::DateTime, types::StatusType};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::user::IamUser;
use crate::{Aws, Error, ErrorKind, Result, error::AbsentIf as _};

/// The keys of one user, by their ids. No secret is in it: IAM shows one only once, to who makes the key.
pub(super) type Keys = BTreeMap<String, AccessKey>;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct AccessKey {
    pub(super) active: bool,
    /// Read, never altered.
    pub(super) created: Timestamp,
    /// The end of the hour in which it was last used: the time itself would differ at each look at a key in use.
    /// Read, never altered.
    #[serde(default)]
    pub(super) last_used: Option<Timestamp>,
}

impl AccessKey {
    /// Since when it lies unused.
    pub(super) fn idle_since(&self) -> Timestamp {
        self.last_used.map_or(self.created, |used| used.max(self.created))
    }
}

/// All long-term keys of the user.
///
/// # Errors
/// [`ErrorKind::NotFound`] where there is no such user.
pub(super) async fn read(aws: &Aws, at: &IamUser) -> Result<Keys> {
    let pages = aws.iam().list_access_keys().user_name(&at.name).into_paginator().items().send();
    let mut keys = Keys::new();
    for key in pages.try_collect().await? {
        let unknown =
            |what: &str| Error::new(ErrorKind::Rejected, format!("IAM lists an access key without {what}"));
        let id = key.access_key_id.ok_or_else(|| unknown("an id"))?;
        // Those of sessions end by themselves:
        // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
        if id.starts_with("ASIA") {
            continue;
        }
        let active = match key.status {
            Some(StatusType::Active) => true,
            Some(StatusType::Inactive | StatusType::Expired) => false,
            _ => return Err(unknown("a status that is known")),
        };
        let created = key.create_date.as_ref().map(time).ok_or_else(|| unknown("its date"))??;
        let used = aws.iam().get_access_key_last_used().access_key_id(&id).send().await;
        // Deleted since it was listed.
        let Some(used) = used.absent_if("NoSuchEntity")? else { continue };
        let used = used.access_key_last_used.and_then(|used| used.last_used_date);
        let last_used = used.as_ref().map(hours_end).transpose()?;
        keys.insert(id, AccessKey { active, created, last_used });
    }
    Ok(keys)
}

/// Switches each key to what it is in `to`, where that is not what it is in `from`.
///
/// # Errors
/// As AWS said it.
pub(super) async fn switch(aws: &Aws, at: &IamUser, from: &Keys, to: &Keys) -> Result<()> {
    for (id, key) in to {
        if from.get(id).is_none_or(|before| before.active == key.active) {
            continue;
        }
        let status = if key.active { StatusType::Active } else { StatusType::Inactive };
        aws.iam().update_access_key().user_name(&at.name).access_key_id(id).status(status).send().await?;
    }
    Ok(())
}

/// The same keys, with those of `ids` inactive.
pub(super) fn without<'a>(keys: &Keys, ids: impl IntoIterator<Item = &'a String>) -> Keys {
    let mut keys = keys.clone();
    for id in ids {
        if let Some(key) = keys.get_mut(id) {
            key.active = false;
        }
    }
    keys
}

/// The way back of keys that a run has deactivated.
pub(super) struct Back {
    /// What is there now, with those active that can be.
    pub(super) to: Keys,
    /// Those that are to be activated.
    pub(super) activated: usize,
    /// Those that somebody has deleted since.
    pub(super) deleted: Vec<String>,
    /// Those that are active already.
    pub(super) active: usize,
}

pub(super) fn back(from: &Keys, to: &Keys, now: &Keys) -> Back {
    let mut back = Back { to: now.clone(), activated: 0, deleted: Vec::new(), active: 0 };
    for (id, before) in from {
        if !before.active || to.get(id).is_none_or(|after| after.active) {
            continue;
        }
        match back.to.get_mut(id) {
            None => back.deleted.push(id.escape_debug().to_string()),
            Some(key) if key.active => back.active += 1,
            Some(key) => {
                key.active = true;
                back.activated += 1;
            }
        }
    }
    back
}

pub(super) fn days(number: impl Into<i64>) -> SignedDuration {
    SignedDuration::from_hours(24 * number.into())
}

pub(super) fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// What whoever decides should know of a key that is to be deactivated.
pub(super) fn note(id: &str, key: &AccessKey) -> String {
    let used = key.last_used.map_or("never used".to_owned(), |used| format!("last used on {}", day(used)));
    format!("access key `{}` was made on {} and {used}", id.escape_debug(), day(key.created))
}

pub(super) fn time(at: &DateTime) -> Result<Timestamp> {
    Timestamp::from_second(at.secs())
        .map_err(|error| Error::new(ErrorKind::Rejected, format!("IAM gives a date that is none: {error}")))
}

pub(super) fn hours_end(at: &DateTime) -> Result<Timestamp> {
    time(&DateTime::from_secs(at.secs().div_euclid(3600).saturating_add(1).saturating_mul(3600)))
}

#[cfg(test)]
pub(super) mod test {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    /// A key that was made, and last used, so many days before an ask.
    pub(crate) fn key(active: bool, made: i64, used: Option<i64>) -> AccessKey {
        let ago = |number| ask("", &()).at - days(number);
        AccessKey { active, created: ago(made), last_used: used.map(ago) }
    }

    pub(crate) fn keys(all: &[(&str, AccessKey)]) -> Keys {
        all.iter().map(|(id, key)| ((*id).to_owned(), *key)).collect()
    }

    #[test]
    fn a_use_counts_until_the_end_of_its_hour() {
        let end = |secs| hours_end(&DateTime::from_secs(secs)).unwrap().as_second();
        assert_eq!((end(0), end(1), end(3599), end(3600)), (3600, 3600, 3600, 7200));
        assert!(time(&DateTime::from_secs(i64::MAX)).is_err());
        assert!(hours_end(&DateTime::from_secs(i64::MAX)).is_err());
    }

    #[test]
    fn a_key_lies_unused_since_it_was_used_or_made() {
        let at = ask("", &()).at;
        assert_eq!(key(true, 9, Some(3)).idle_since(), at - days(3));
        assert_eq!(key(true, 9, None).idle_since(), at - days(9));
    }

    #[test]
    fn the_way_back_is_of_what_the_run_has_deactivated_and_nothing_else() {
        let (on, off) = (key(true, 200, None), key(false, 200, None));
        let from = keys(&[("A", on), ("B", on), ("C", off), ("D", on)]);
        let to = keys(&[("A", off), ("B", off), ("C", off), ("D", on)]);
        let found = back(&from, &to, &to);
        assert_eq!((found.to, found.activated, found.active), (from.clone(), 2, 0));
        let found = back(&from, &to, &from);
        assert_eq!((found.to, found.activated, found.active), (from.clone(), 0, 2));
        // `A` is gone, `D` was deactivated by somebody else, and `E` is new.
        let now = keys(&[("B", off), ("C", off), ("D", off), ("E", off)]);
        let found = back(&from, &to, &now);
        assert_eq!(found.to, keys(&[("B", on), ("C", off), ("D", off), ("E", off)]));
        assert_eq!((found.activated, found.deleted), (1, vec!["A".to_owned()]));
    }

    #[test]
    fn records_of_a_key_stay_readable() {
        let stored = r#"{"active":true,"created":"2025-06-15T00:00:00Z","last_used":null}"#;
        let key = key(true, 200, None);
        assert_eq!(serde_json::to_string(&key).unwrap(), stored);
        assert_eq!(serde_json::from_str::<AccessKey>(stored).unwrap(), key);
        let short = r#"{"active":true,"created":"2025-06-15T00:00:00Z"}"#;
        assert_eq!(serde_json::from_str::<AccessKey>(short).unwrap(), key);
    }
}
