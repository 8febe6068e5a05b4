//! Deactivates access keys that nobody uses; where the rule says so, deletes a password that nobody uses.

use jiff::Timestamp;

use super::{
    keys::{self, Keys, day, days},
    user::IamUser,
};
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct DeactivateUnusedCredentials;

/// What is done about a password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// What is done where the user's console password lies unused; deleting one is loss.
    passwords: Passwords,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Passwords {
    /// The user is left alone altogether, and whoever asked is told why.
    #[default]
    Refuse,
    /// It does not count: access keys alone are looked at. The finding of a user with an unused password stays open.
    Leave,
    /// It is deleted, and the user can't sign in to the console until it is given a new one.
    Delete,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    keys: Keys,
    /// `None` where the user can't sign in to the console.
    password: Option<Password>,
}

/// What is known of a password; never the password.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Password {
    created: Timestamp,
    /// The end of the hour in which it was last used.
    #[serde(default)]
    last_used: Option<Timestamp>,
}

impl Remediator for DeactivateUnusedCredentials {
    const SPEC: Spec = Spec {
        name: "iam.deactivate_unused_credentials",
        version: 1,
        controls: &["IAM.8", "IAM.22"],
        risk: Risk::Loss,
        what: "Deactivates the user's active access keys that were not used for 90 days (IAM.8) or 45 days (IAM.22), \
               counted from when they were made where they never were. A console password that lies unused can't be \
               switched off, only deleted: it refuses such a user unless the rule says `passwords: delete`, or \
               `passwords: leave` for the access keys alone.",
        who_notices: "Whatever signs with such a key less often than that: its calls are denied from then on. With \
                      `passwords: delete`, a person who signs in to the console less often than that and finds that \
                      there is no password.",
        way_back: "Activates the keys that it deactivated and that still exist, with the secrets they had. A deleted \
                   password can't be had back: an administrator gives the user a new one.",
        reads: &[
            Action::new("iam:ListAccessKeys", On::Resource),
            Action::new("iam:GetAccessKeyLastUsed", On::Resource),
            Action::new("iam:GetLoginProfile", On::Resource),
        ],
        writes: &[
            Action::new("iam:UpdateAccessKey", On::Resource),
            Action::new("iam:DeleteLoginProfile", On::Resource),
        ],
        undo: &[],
        implied: &[],
    };
    type Resource = IamUser;
    type Params = Params;
    type State = State;

    async fn observe(aws: &Aws, at: &IamUser) -> Result<State> {
        let login = aws.iam().get_login_profile().user_name(&at.name).send();
        let (keys, user, login) = tokio::join!(keys::read(aws, at), at.find(aws), login);
        // Of a user who does not exist, the same code: but then the others have said so.
        let (keys, user) = (keys?, user?);
        let login = login.absent_if("NoSuchEntity")?.and_then(|found| found.login_profile);
        let password = match login {
            None => None,
            Some(login) => Some(Password {
                created: keys::time(&login.create_date)?,
                last_used: user.password_last_used.as_ref().map(keys::hours_end).transpose()?,
            }),
        };
        Ok(State { keys, password })
    }

    fn plan(now: &State, ask: &Ask<'_, Params>) -> Plan<State> {
        // https://docs.aws.amazon.com/securityhub/latest/userguide/iam-controls.html#iam-8: neither can be set otherwise.
        let limit = match ask.control {
            "IAM.8" => 90,
            "IAM.22" => 45,
            other => {
                return Plan::Refuse(format!(
                    "`{}` is no control about unused credentials",
                    other.escape_debug()
                ));
            }
        };
        let is_idle = |since: Timestamp| ask.at.duration_since(since) > days(limit);
        let idle: Keys = now
            .keys
            .iter()
            .filter(|(_, key)| key.active && is_idle(key.idle_since()))
            .map(|(id, key)| (id.clone(), *key))
            .collect();
        let password = now
            .password
            .map(|password| password.last_used.map_or(password.created, |used| used.max(password.created)))
            .filter(|&since| is_idle(since));
        let (deletes, stays) = match (password, ask.params.passwords) {
            (None, _) => (false, None),
            (Some(since), Passwords::Refuse) => {
                return Plan::Refuse(format!(
                    "its console password lies unused since {}, and could not be had back: the rule can say \
                     `passwords: delete`, or `passwords: leave` for the access keys alone",
                    day(since)
                ));
            }
            (Some(since), Passwords::Leave) => (false, Some(since)),
            (Some(_), Passwords::Delete) => (true, None),
        };
        if idle.is_empty() && !deletes {
            return Plan::Compliant;
        }
        let mut notes: Vec<String> = idle.iter().map(|(id, key)| keys::note(id, key)).collect();
        if deletes {
            notes.push("its console password is deleted and can't be had back".to_owned());
        }
        if let Some(since) = stays {
            notes.push(format!(
                "the finding stays open: its console password lies unused since {}, and the rule says to leave it",
                day(since)
            ));
        }
        let to = State {
            keys: keys::without(&now.keys, idle.keys()),
            password: now.password.filter(|_| !deletes),
        };
        Plan::Change(Proposal { to, risk: if deletes { Risk::Loss } else { Risk::Downtime }, notes })
    }

    async fn apply(aws: &Aws, at: &IamUser, change: &Change<State>) -> Result<()> {
        // What can be had back comes first.
        keys::switch(aws, at, &change.from.keys, &change.to.keys).await?;
        if change.from.password.is_some() && change.to.password.is_none() {
            let deleted = aws.iam().delete_login_profile().user_name(&at.name).send().await;
            deleted.absent_if("NoSuchEntity")?;
        }
        Ok(())
    }

    fn undo(change: &Change<State>, now: &State) -> Undo<State> {
        let back = keys::back(&change.from.keys, &change.to.keys, &now.keys);
        let mut notes: Vec<String> =
            back.deleted.iter().map(|id| format!("access key `{id}` was deleted since")).collect();
        if change.from.password.is_some() && change.to.password.is_none() && now.password.is_none() {
            notes.push(
                "the console password that was deleted can't be had back: give the user a new one".to_owned(),
            );
        }
        match (back.activated, back.active) {
            (0, 0) if !notes.is_empty() => Undo::Refuse(notes.join("; ")),
            (0, _) => Undo::Nothing,
            _ => Undo::To { to: State { keys: back.to, password: now.password }, notes },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::{
        super::keys::test::{key, keys},
        *,
    };
    use crate::remediator::test::ask;

    const EVERY: [Passwords; 3] = [Passwords::Refuse, Passwords::Leave, Passwords::Delete];

    fn password(made: i64, used: Option<i64>) -> Password {
        let key = key(true, made, used);
        Password { created: key.created, last_used: key.last_used }
    }

    fn state(all: &[(&str, keys::AccessKey)], password: Option<Password>) -> State {
        State { keys: keys(all), password }
    }

    fn plan(now: &State, control: &str, passwords: Passwords) -> Plan<State> {
        let params = Params { passwords };
        let ask = ask(control, &params);
        let plan = DeactivateUnusedCredentials::plan(now, &ask);
        if let Plan::Change(change) = &plan {
            // What verification relies on.
            assert_eq!(DeactivateUnusedCredentials::plan(&change.to, &ask), Plan::Compliant);
        }
        plan
    }

    #[test]
    fn keys_are_deactivated_that_were_not_used_for_the_days_of_the_control() {
        for (control, limit) in [("IAM.8", 90), ("IAM.22", 45)] {
            for (key, is_idle) in [
                (key(true, 900, Some(limit + 1)), true),
                (key(true, 900, Some(limit)), false),
                (key(true, 900, Some(-1)), false),
                (key(true, limit + 1, None), true),
                (key(true, limit, None), false),
                (key(false, 900, None), false),
            ] {
                for passwords in EVERY {
                    let beside = ("B", key_in_use());
                    let now = state(&[("A", key), beside], Some(password(900, Some(1))));
                    match plan(&now, control, passwords) {
                        Plan::Compliant => assert!(!is_idle, "{control} {key:?}"),
                        Plan::Change(change) => {
                            assert!(is_idle, "{control} {key:?}");
                            let off = keys::AccessKey { active: false, ..key };
                            assert_eq!(change.to, state(&[("A", off), beside], now.password));
                            assert_eq!(change.risk, Risk::Downtime);
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
        assert!(matches!(plan(&state(&[], None), "IAM.3", Passwords::Refuse), Plan::Refuse(_)));
    }

    fn key_in_use() -> keys::AccessKey {
        key(true, 900, Some(0))
    }

    #[test]
    fn a_password_is_left_alone_unless_the_rule_says_otherwise() {
        for (password, is_idle) in [
            (password(900, Some(46)), true),
            (password(900, None), true),
            (password(20, None), false),
            // Given anew since it was used.
            (password(20, Some(300)), false),
            (password(900, Some(45)), false),
        ] {
            let now = state(&[("A", key_in_use())], Some(password));
            for passwords in EVERY {
                match (plan(&now, "IAM.22", passwords), passwords) {
                    (Plan::Refuse(why), Passwords::Refuse) => {
                        assert!(is_idle && why.contains("passwords: delete"), "{why}");
                    }
                    (Plan::Compliant, Passwords::Leave) => {}
                    (Plan::Compliant, _) => assert!(!is_idle, "{password:?}"),
                    (Plan::Change(change), Passwords::Delete) => {
                        assert!(is_idle, "{password:?}");
                        assert_eq!(change.to, State { password: None, ..now.clone() });
                        assert_eq!(change.risk, Risk::Loss);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn where_a_password_is_left_it_is_said_that_the_finding_stays_open() {
        let now = state(&[("A", key(true, 900, None))], Some(password(900, None)));
        let Plan::Change(change) = plan(&now, "IAM.8", Passwords::Leave) else { panic!("no change") };
        assert_eq!(change.to.password, now.password);
        assert_eq!(change.risk, Risk::Downtime);
        assert!(change.notes.iter().any(|note| note.contains("stays open")), "{:?}", change.notes);
        let Plan::Change(change) = plan(&now, "IAM.8", Passwords::Delete) else { panic!("no change") };
        assert_eq!(change.to, state(&[("A", key(false, 900, None))], None));
        assert!(matches!(plan(&now, "IAM.8", Passwords::Refuse), Plan::Refuse(_)));
    }

    #[test]
    fn undo_gives_back_keys_and_says_that_a_password_is_lost() {
        let (on, off) = (key(true, 900, None), key(false, 900, None));
        let lost = Some(password(900, None));
        let change = Change { from: state(&[("A", on)], lost), to: state(&[("A", off)], None) };
        let undo = |now: &State| DeactivateUnusedCredentials::undo(&change, now);
        assert!(matches!(undo(&change.to), Undo::To { to, notes }
            if to == state(&[("A", on)], None) && notes[0].contains("can't be had back")));
        assert_eq!(undo(&state(&[("A", on)], None)), Undo::Nothing);
        // A new password is somebody else's doing.
        let new = Some(password(1, None));
        assert!(matches!(undo(&state(&[("A", off)], new)), Undo::To { to, notes }
            if to == state(&[("A", on)], new) && notes.is_empty()));
        let change = Change { from: state(&[("A", on)], lost), to: state(&[("A", on)], None) };
        let undo = |now: &State| DeactivateUnusedCredentials::undo(&change, now);
        assert!(matches!(undo(&change.to), Undo::Refuse(why) if why.contains("give the user a new one")));
        assert_eq!(undo(&state(&[("A", off)], new)), Undo::Nothing);
    }

    #[test]
    fn records_of_its_state_stay_readable() {
        let stored = r#"{"keys":{},"password":{"created":"2025-12-31T00:00:00Z","last_used":null}}"#;
        let now = state(&[], Some(password(1, None)));
        assert_eq!(serde_json::to_string(&now).unwrap(), stored);
        assert_eq!(serde_json::from_str::<State>(stored).unwrap(), now);
    }
}
