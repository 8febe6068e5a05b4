//! Disables a user of a Cognito user pool.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    USER_UPDATE,
    policy::Policy,
    user::{POOL, User},
};
use crate::{
    prelude::*,
    remediator::{Evidence, Proposal},
};

pub(crate) struct DisableUser;

/// Neither the user's name nor any value of an attribute is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    enabled: bool,
    /// `CONFIRMED`, `EXTERNAL_PROVIDER`, … Read, never altered.
    #[serde(default)]
    status: String,
    /// The user's groups. Read, never altered.
    #[serde(default)]
    groups: BTreeSet<String>,
    /// The names of the custom attributes that are set. Read, never altered.
    #[serde(default)]
    marks: BTreeSet<String>,
    /// Whether sessions are ended on the way to this state. It is asked for and never seen.
    #[serde(default)]
    sign_out: bool,
}

impl Remediator for DisableUser {
    const SPEC: Spec = Spec {
        name: "cognito.disable_user",
        version: 1,
        controls: &["redress.cognito-inactive-user"],
        risk: Risk::Access,
        what: "Disables one user of one pool; the user and all that the pool knows of it stay. That the user is \
               inactive is not taken from the finding: the engine reads the user's row of the activity table, \
               and refuses where there is none, where it says otherwise, or where lost sign-ins may be the \
               user's. After the change it waits until no sign-in from before can be on its way (15 seconds), \
               reads the row again, and enables the user if it was seen. A tag `redress:exempt` on the pool \
               exempts all of its users.",
        who_notices: "The user: signing in and renewing a session fail, and access tokens are void at once for \
                      Cognito's own calls. An application that checks tokens on its own takes them until they \
                      expire, an hour or what the app client says.",
        way_back: "Enables the user again, with the password, attributes and groups it had; its inactivity counts \
                   from then on. Sessions that were ended stay so.",
        reads: &[
            Action::new("cognito-idp:ListUsers", POOL),
            Action::new("cognito-idp:AdminListGroupsForUser", POOL),
        ],
        writes: &[
            Action::new("cognito-idp:AdminDisableUser", POOL),
            Action::new("cognito-idp:AdminUserGlobalSignOut", POOL),
        ],
        undo: &[Action::new("cognito-idp:AdminEnableUser", POOL)],
        implied: &[],
    };
    const EVIDENCE: Evidence = Evidence::Activity;
    type Resource = User;
    type Params = Policy;
    type State = State;

    async fn observe(aws: &Aws, at: &User) -> Result<State> {
        let user = at.find(aws).await?;
        let request = aws.cognito().admin_list_groups_for_user().user_pool_id(&at.pool).username(user.name);
        let mut groups = BTreeSet::new();
        let mut token = None;
        loop {
            let page = request.clone().set_next_token(token);
            let found = aws.tried(|| page.clone().send()).await?;
            groups.extend(found.groups.unwrap_or_default().into_iter().filter_map(|group| group.group_name));
            token = found.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        Ok(State { enabled: user.enabled, status: user.status, groups, marks: user.marks, sign_out: false })
    }

    fn plan(now: &State, ask: &Ask<'_, Policy>) -> Plan<State> {
        let (policy, at) = (ask.params, ask.at);
        if !now.enabled {
            return Plan::Compliant;
        }
        let Some(seen) = ask.seen else {
            return Plan::Refuse(
                "nothing shows that the user is inactive: there is no activity of it".to_owned(),
            );
        };
        let threshold = policy.threshold(seen.signed_in);
        let days = threshold.as_hours() / 24;
        let schedule = policy.schedule(seen, at);
        let since = day(seen.since);
        // Between announcement and threshold, the automatic door waits; for a person the user is active.
        let announced = policy.warn_days > 0 && schedule.warn_at.is_none() && !ask.by_person;
        if schedule.due_at > at && !announced {
            return Plan::Refuse(format!(
                "the user is active: last seen {since}, which is less than {days} days ago"
            ));
        }
        if now.marks.contains(&policy.exempt_attribute) {
            return Plan::Exempt(format!(
                "the user's attribute `{}` is set",
                shown(&policy.exempt_attribute)
            ));
        }
        if let Some(group) = now.groups.intersection(&policy.protected_groups).next() {
            return Plan::Exempt(format!("the user is in the protected group `{}`", shown(group)));
        }
        if now.status == "EXTERNAL_PROVIDER" && !policy.federated {
            return Plan::Exempt(
                "the user signs in by an identity provider outside the pool, where it should be disabled; the \
                 rule can say `federated`"
                    .to_owned(),
            );
        }
        if let Some(doubt) = seen.in_doubt
            && doubt.saturating_add(threshold).is_ok_and(|due| due > at)
        {
            return Plan::Refuse(format!(
                "the user may have been seen until {}, when sign-ins of the pool were lost; `redress cognito \
                 reconcile` looks after them",
                day(doubt)
            ));
        }
        if !ask.by_person && schedule.disable_at > at {
            let why = match (schedule.warn_at, policy.warn_days) {
                (Some(_), _) => "to be announced first",
                (None, 0) => "within its days of grace",
                (None, _) => "to be disabled then, unless it is seen",
            };
            let until = schedule.disable_at;
            return Plan::Wait { until, why: format!("last seen {since}; {why}") };
        }
        let mut notes =
            vec!["the user can't sign in or renew a session until it is enabled again".to_owned()];
        if policy.sign_out {
            notes.push("the user's sessions end, on every device; undo does not bring them back".to_owned());
        }
        let to = State { enabled: false, sign_out: policy.sign_out, ..now.clone() };
        Plan::Change(Proposal { to, risk: Risk::Access, notes })
    }

    async fn apply(aws: &Aws, at: &User, change: &Change<State>) -> Result<()> {
        // Names can change hands: it is read again for every change, and is in no record.
        let name = at.find(aws).await?.name;
        let cognito = aws.cognito();
        if change.to.enabled {
            let enable = cognito.admin_enable_user().user_pool_id(&at.pool).username(name);
            aws.paced(&USER_UPDATE, || enable.clone().send()).await?;
            return Ok(());
        }
        // First, for a run that breaks off in between: a disabled user looks done, whereas nothing shows
        // whether its sessions have ended.
        if change.to.sign_out {
            let end = cognito.admin_user_global_sign_out().user_pool_id(&at.pool).username(&name);
            aws.paced(&USER_UPDATE, || end.clone().send()).await?;
        }
        let disable = cognito.admin_disable_user().user_pool_id(&at.pool).username(name);
        aws.paced(&USER_UPDATE, || disable.clone().send()).await?;
        Ok(())
    }

    fn undo(change: &Change<State>, now: &State) -> Undo<State> {
        if now.enabled || !change.from.enabled {
            return Undo::Nothing;
        }
        let to = State { enabled: true, sign_out: false, ..now.clone() };
        let ended = "the sessions that were ended stay so: the user signs in anew".to_owned();
        Undo::To { to, notes: if change.to.sign_out { vec![ended] } else { Vec::new() } }
    }
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use jiff::SignedDuration;

    use super::*;
    use crate::{LastSeen, remediator::test::ask};

    const CONTROL: &str = "redress.cognito-inactive-user";

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn state() -> State {
        State {
            enabled: true,
            status: "CONFIRMED".to_owned(),
            groups: names(&["readers", "staff"]),
            marks: names(&["custom:team"]),
            sign_out: false,
        }
    }

    fn last_seen(days: i64) -> LastSeen {
        let at = ask(CONTROL, &()).at;
        let since = at - SignedDuration::from_hours(24 * days);
        LastSeen { since, signed_in: true, warned: None, in_doubt: None }
    }

    fn plan(now: &State, policy: &Policy) -> Plan<State> {
        seen(now, policy, Some(&last_seen(100)))
    }

    fn seen(now: &State, policy: &Policy, seen: Option<&LastSeen>) -> Plan<State> {
        DisableUser::plan(now, &Ask { seen, ..ask(CONTROL, policy) })
    }

    fn by_person(now: &State, policy: &Policy, seen: &LastSeen) -> Plan<State> {
        DisableUser::plan(now, &Ask { seen: Some(seen), by_person: true, ..ask(CONTROL, policy) })
    }

    #[test]
    fn without_proof_of_inactivity_nobody_is_disabled() {
        let policy = Policy::default();
        assert!(matches!(seen(&state(), &policy, None), Plan::Refuse(why) if why.contains("no activity")));
        let days = |days| seen(&state(), &policy, Some(&last_seen(days)));
        assert!(matches!(days(89), Plan::Refuse(why) if why.contains("is active")));
        assert!(matches!(days(90), Plan::Change(_)));
        assert!(matches!(days(-1), Plan::Refuse(_)), "a time in the future");
    }

    #[test]
    fn nobody_is_disabled_while_lost_sign_ins_may_be_theirs() {
        let policy = Policy::default();
        let lost = |days| LastSeen { in_doubt: Some(last_seen(days).since), ..last_seen(100) };
        for plan in [seen(&state(), &policy, Some(&lost(89))), by_person(&state(), &policy, &lost(89))] {
            assert!(matches!(plan, Plan::Refuse(why) if why.contains("reconcile")));
        }
        // Even if it was the user's: that is long enough ago.
        assert!(matches!(seen(&state(), &policy, Some(&lost(90))), Plan::Change(_)));
    }

    #[test]
    fn grace_and_warning_are_kept_by_the_automatic_door() {
        let grace = Policy { grace_days: 14, ..Policy::default() };
        assert!(matches!(plan(&state(), &grace), Plan::Wait { .. }));
        assert!(matches!(by_person(&state(), &grace, &last_seen(100)), Plan::Change(_)));
        assert!(matches!(seen(&state(), &grace, Some(&last_seen(104))), Plan::Change(_)));

        let warn = Policy { warn_days: 7, ..Policy::default() };
        let unwarned = last_seen(85);
        assert!(matches!(seen(&state(), &warn, Some(&unwarned)), Plan::Refuse(_)));
        let warned = LastSeen { warned: Some(last_seen(1).since), ..unwarned };
        let Plan::Wait { until, .. } = seen(&state(), &warn, Some(&warned)) else { panic!("does not wait") };
        assert_eq!(until, last_seen(-6).since);
        assert!(
            matches!(by_person(&state(), &warn, &warned), Plan::Refuse(_)),
            "a person waits for the threshold"
        );
        // Unannounced, however long ago.
        assert!(matches!(seen(&state(), &warn, Some(&last_seen(900))), Plan::Wait { .. }));
        let warned = LastSeen { warned: Some(last_seen(7).since), ..last_seen(900) };
        assert!(matches!(seen(&state(), &warn, Some(&warned)), Plan::Change(_)));
        // Whoever is exempt is not told that it will be disabled.
        let exempt = State { marks: names(&["custom:redress_exempt"]), ..state() };
        assert!(matches!(seen(&exempt, &warn, Some(&last_seen(900))), Plan::Exempt(_)));
    }

    #[test]
    fn disables_and_changes_nothing_else() {
        for sign_out in [false, true] {
            let params = Policy { sign_out, ..Policy::default() };
            let Plan::Change(change) = plan(&state(), &params) else { panic!("no change") };
            assert_eq!(change.to, State { enabled: false, sign_out, ..state() });
            assert_eq!(change.risk, Risk::Access);
            // What is observed after it: the wish is no part of what is there.
            assert_eq!(plan(&State { sign_out: false, ..change.to }, &params), Plan::Compliant);
        }
    }

    #[test]
    fn who_is_protected_is_exempt_by_name_of_the_reason() {
        let params = Policy { protected_groups: names(&["admins", "staff"]), ..Policy::default() };
        let exempt = State { marks: names(&["custom:redress_exempt"]), ..state() };
        let federated = State { status: "EXTERNAL_PROVIDER".to_owned(), ..state() };
        for (now, params, reason) in [
            (&state(), &params, "`staff`"),
            (&exempt, &Policy::default(), "`custom:redress_exempt`"),
            (&federated, &Policy::default(), "`federated`"),
        ] {
            assert!(matches!(plan(now, params), Plan::Exempt(why) if why.contains(reason)), "{reason}");
            let disabled = State { enabled: false, ..now.clone() };
            assert_eq!(plan(&disabled, params), Plan::Compliant);
        }
        let open = Policy { federated: true, ..Policy::default() };
        assert!(matches!(plan(&federated, &open), Plan::Change(_)));
        let other = Policy { exempt_attribute: "custom:other".to_owned(), ..Policy::default() };
        assert!(matches!(plan(&exempt, &other), Plan::Change(_)));
    }

    #[test]
    fn a_name_from_the_pool_stands_escaped_and_cut_in_a_message() {
        let hostile = format!("\u{1b}[2J\n{}", "x".repeat(200));
        let params = Policy { protected_groups: names(&[&hostile]), ..Policy::default() };
        let now = State { groups: names(&[&hostile]), ..state() };
        let Plan::Exempt(why) = plan(&now, &params) else { panic!("not exempt") };
        assert!(!why.contains(char::is_control) && why.len() < 150, "{why:?}");
    }

    #[test]
    fn undo_enables_what_the_run_disabled_and_only_that() {
        let change = Change { from: state(), to: State { enabled: false, sign_out: true, ..state() } };
        // Left the group meanwhile: none of ours.
        let now = State { enabled: false, groups: names(&["readers"]), ..state() };
        let Undo::To { to, notes } = DisableUser::undo(&change, &now) else { panic!("no way back") };
        assert_eq!(to, State { groups: names(&["readers"]), ..state() });
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert_eq!(DisableUser::undo(&change, &to), Undo::Nothing);
        let was_disabled = Change { from: now.clone(), to: now.clone() };
        assert_eq!(DisableUser::undo(&was_disabled, &now), Undo::Nothing);
    }

    #[test]
    fn records_of_its_state_stay_readable() {
        let stored = r#"{"enabled":true,"status":"CONFIRMED","groups":["readers","staff"],"marks":["custom:team"],"sign_out":false}"#;
        assert_eq!(serde_json::to_string(&state()).unwrap(), stored);
        let least: State = serde_json::from_str(r#"{"enabled":false}"#).unwrap();
        assert!(!least.enabled && least.groups.is_empty() && !least.sign_out);
    }
}
