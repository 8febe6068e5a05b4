//! Deactivates access keys that were not rotated, where nobody uses them.

use jiff::Timestamp;

use super::{
    keys::{self, Keys, day, days},
    user::IamUser,
};
use crate::{prelude::*, remediator::Proposal};

/// [IAM.3](https://docs.aws.amazon.com/securityhub/latest/userguide/iam-controls.html#iam-3); it can't be set otherwise.
const LONGEST_LIFE: u8 = 90;

pub(crate) struct DeactivateOldKeys;

/// Which keys are nobody's any more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// For how many days an old key must not have been used to be deactivated. With 0, keys in use are
    /// deactivated as well.
    unused_days: u16,
}

impl Default for Params {
    fn default() -> Self {
        Self { unused_days: 45 }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    keys: Keys,
}

impl Remediator for DeactivateOldKeys {
    const SPEC: Spec = Spec {
        name: "iam.deactivate_old_keys",
        version: 1,
        controls: &["IAM.3"],
        risk: Risk::Downtime,
        what: "Deactivates the user's active access keys that are older than 90 days. None is deleted, and none is \
               made: rotating a key that is used is for its user to do. So it refuses where one of these keys was \
               used within the last 45 days, or whatever the rule says.",
        who_notices: "Whatever still signs with such a key: its calls are denied from then on. IAM learns of a use \
                      some hours late, and a job that runs less often than the rule's days looks unused.",
        way_back: "Activates the keys that it deactivated and that still exist, with the secrets they had.",
        reads: &[
            Action::new("iam:ListAccessKeys", On::Resource),
            Action::new("iam:GetAccessKeyLastUsed", On::Resource),
        ],
        writes: &[Action::new("iam:UpdateAccessKey", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = IamUser;
    type Params = Params;
    type State = State;

    async fn observe(aws: &Aws, at: &IamUser) -> Result<State> {
        Ok(State { keys: keys::read(aws, at).await? })
    }

    fn plan(now: &State, ask: &Ask<'_, Params>) -> Plan<State> {
        let old: Keys = now
            .keys
            .iter()
            .filter(|(_, key)| key.active && ask.at.duration_since(key.created) > days(LONGEST_LIFE))
            .map(|(id, key)| (id.clone(), *key))
            .collect();
        if old.is_empty() {
            return Plan::Compliant;
        }
        let unused = ask.params.unused_days;
        for (id, key) in &old {
            // A use in this very hour counts as one at its end, which is still to come.
            let in_use = |used: Timestamp| unused > 0 && ask.at.duration_since(used) < days(unused);
            if let Some(used) = key.last_used.filter(|&used| in_use(used)) {
                return Plan::Refuse(format!(
                    "access key `{}` is in use: it was last used on {}, less than {unused} days ago; give its user \
                     another first, or the rule fewer `unused_days`",
                    id.escape_debug(),
                    day(used)
                ));
            }
        }
        let notes = old.iter().map(|(id, key)| keys::note(id, key)).collect();
        let to = State { keys: keys::without(&now.keys, old.keys()) };
        Plan::Change(Proposal { to, risk: Risk::Downtime, notes })
    }

    async fn apply(aws: &Aws, at: &IamUser, change: &Change<State>) -> Result<()> {
        keys::switch(aws, at, &change.from.keys, &change.to.keys).await
    }

    fn undo(change: &Change<State>, now: &State) -> Undo<State> {
        let back = keys::back(&change.from.keys, &change.to.keys, &now.keys);
        let gone: Vec<String> =
            back.deleted.iter().map(|id| format!("access key `{id}` was deleted since")).collect();
        match (back.activated, back.active) {
            (0, 0) if !gone.is_empty() => Undo::Refuse(gone.join("; ")),
            (0, _) => Undo::Nothing,
            _ => Undo::To { to: State { keys: back.to }, notes: gone },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]
    use super::{
        super::keys::test::{key, keys},
        *,
    };
    use crate::remediator::test::ask;

    fn plan(all: &[(&str, keys::AccessKey)], unused_days: u16) -> Plan<State> {
        DeactivateOldKeys::plan(&State { keys: keys(all) }, &ask("IAM.3", &Params { unused_days }))
    }

    #[test]
    fn deactivates_what_is_older_than_90_days_and_nothing_else() {
        for (made, is_old) in [(0, false), (89, false), (90, false), (91, true), (3000, true)] {
            let Plan::Change(change) = plan(&[("A", key(true, made, None))], 45) else {
                assert!(!is_old, "{made}");
                continue;
            };
            assert!(is_old, "{made}");
            assert_eq!(change.to.keys, keys(&[("A", key(false, made, None))]));
            assert_eq!(change.risk, Risk::Downtime);
            assert_eq!(
                DeactivateOldKeys::plan(&change.to, &ask("IAM.3", &Params::default())),
                Plan::Compliant
            );
        }
        let beside =
            [("A", key(true, 200, None)), ("B", key(true, 20, Some(0))), ("C", key(false, 400, None))];
        let Plan::Change(change) = plan(&beside, 45) else { panic!("no change") };
        assert_eq!(change.to.keys, keys(&[("A", key(false, 200, None)), beside[1], beside[2]]));
        assert_eq!(change.notes.len(), 1, "{:?}", change.notes);
        assert_eq!(plan(&[("C", key(false, 400, Some(0)))], 45), Plan::Compliant);
        assert_eq!(plan(&[], 45), Plan::Compliant);
    }

    #[test]
    fn a_key_in_use_is_left_alone_and_so_is_its_user() {
        let used = |days| [("A", key(true, 200, None)), ("B", key(true, 200, Some(days)))];
        for days in [-1, 0, 44] {
            assert!(
                matches!(plan(&used(days), 45), Plan::Refuse(why) if why.contains("`B` is in use")),
                "{days}"
            );
        }
        for (days, unused) in [(45, 45), (10, 10), (0, 0), (-1, 0)] {
            let Plan::Change(change) = plan(&used(days), unused) else { panic!("{days} {unused}") };
            assert!(change.to.keys.values().all(|key| !key.active));
        }
    }

    #[test]
    fn undo_activates_what_is_left_of_what_the_run_deactivated() {
        let state = |all: &[(&str, keys::AccessKey)]| State { keys: keys(all) };
        let (on, off) = (key(true, 200, None), key(false, 200, None));
        let change = Change { from: state(&[("A", on), ("B", on)]), to: state(&[("A", off), ("B", off)]) };
        let undo = |now: &State| DeactivateOldKeys::undo(&change, now);
        assert!(matches!(undo(&change.to), Undo::To { to, notes } if to == change.from && notes.is_empty()));
        assert_eq!(undo(&change.from), Undo::Nothing);
        assert!(matches!(undo(&state(&[("B", off)])), Undo::To { to, notes }
            if to == state(&[("B", on)]) && notes[0].contains("`A` was deleted")));
        assert_eq!(undo(&state(&[("B", on)])), Undo::Nothing);
        assert!(matches!(undo(&state(&[])), Undo::Refuse(why) if why.contains("`B` was deleted")));
    }
}
