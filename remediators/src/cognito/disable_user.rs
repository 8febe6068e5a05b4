//! Disables a user of a Cognito user pool.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::user::{POOL, User};
use crate::{
    prelude::*,
    remediator::{Evidence, Proposal},
};

pub(crate) struct DisableUser;

/// A rule's parameters.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Groups of the pool whose members are never disabled, as they are spelt there.
    protected_groups: BTreeSet<String>,
    /// The custom attribute that exempts a user: whoever has it set, to anything but `false`, is never
    /// disabled. A pool that has no such attribute exempts nobody by it.
    #[serde(deserialize_with = "custom_attribute")]
    #[schemars(regex(pattern = "^(dev:)?custom:."))]
    exempt_attribute: String,
    /// Also disable users who sign in by an identity provider outside the pool.
    federated: bool,
    /// End the user's sessions as well: their refresh tokens stay void, also after an undo.
    sign_out: bool,
    /// For how many days a user must not have been seen.
    #[schemars(range(min = 1, max = 3650))]
    inactive_days: u16,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            protected_groups: BTreeSet::new(),
            exempt_attribute: "custom:redress_exempt".to_owned(),
            federated: false,
            sign_out: false,
            inactive_days: 90,
        }
    }
}

/// Of all other attributes, the state does not say whether they are set: an exemption by one would be none.
fn custom_attribute<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    match name.strip_prefix("dev:").unwrap_or(&name).strip_prefix("custom:") {
        Some(rest) if !rest.is_empty() => Ok(name),
        _ => Err(serde::de::Error::custom(format!(
            "`{}` is no custom attribute: its name begins with `custom:`",
            name.escape_debug()
        ))),
    }
}

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
               and refuses where there is none or where it says otherwise. A tag `redress:exempt` on the pool \
               exempts all of its users.",
        who_notices: "The user: signing in and renewing a session fail, and access tokens are void at once for \
                      Cognito's own calls. An application that checks tokens on its own takes them until they \
                      expire, an hour or what the app client says.",
        way_back: "Enables the user again, with the password, attributes and groups it had. Sessions that were \
                   ended stay so.",
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
    type Params = Params;
    type State = State;

    async fn observe(aws: &Aws, at: &User) -> Result<State> {
        let user = at.find(aws).await?;
        let request = aws.cognito().admin_list_groups_for_user().user_pool_id(&at.pool).username(user.name);
        let mut pages = request.into_paginator().items().send();
        let mut groups = BTreeSet::new();
        while let Some(group) = pages.next().await {
            groups.extend(group?.group_name);
        }
        Ok(State { enabled: user.enabled, status: user.status, groups, marks: user.marks, sign_out: false })
    }

    fn plan(now: &State, ask: &Ask<'_, Params>) -> Plan<State> {
        let params = ask.params;
        if !now.enabled {
            return Plan::Compliant;
        }
        let Some(seen) = ask.since else {
            return Plan::Refuse(
                "nothing shows that the user is inactive: there is no activity of it".to_owned(),
            );
        };
        let due = seen + SignedDuration::from_hours(24 * i64::from(params.inactive_days));
        if due > ask.at {
            return Plan::Refuse(format!(
                "the user is active: last seen {}, which is less than {} days ago",
                seen.strftime("%Y-%m-%d %H:%M UTC"),
                params.inactive_days
            ));
        }
        if now.marks.contains(&params.exempt_attribute) {
            return Plan::Refuse(format!(
                "the user is exempt: its attribute `{}` is set",
                shown(&params.exempt_attribute)
            ));
        }
        if let Some(group) = now.groups.intersection(&params.protected_groups).next() {
            return Plan::Refuse(format!("the user is in the protected group `{}`", shown(group)));
        }
        if now.status == "EXTERNAL_PROVIDER" && !params.federated {
            return Plan::Refuse(
                "the user signs in by an identity provider outside the pool, where it should be disabled; the \
                 rule can say `federated`"
                    .to_owned(),
            );
        }
        let mut notes =
            vec!["the user can't sign in or renew a session until it is enabled again".to_owned()];
        if params.sign_out {
            notes.push("the user's sessions end, on every device; undo does not bring them back".to_owned());
        }
        let to = State { enabled: false, sign_out: params.sign_out, ..now.clone() };
        Plan::Change(Proposal { to, risk: Risk::Access, notes })
    }

    async fn apply(aws: &Aws, at: &User, change: &Change<State>) -> Result<()> {
        // Names can change hands: it is read again for every change, and is in no record.
        let name = at.find(aws).await?.name;
        if change.to.enabled {
            aws.cognito().admin_enable_user().user_pool_id(&at.pool).username(name).send().await?;
            return Ok(());
        }
        // First, for a run that breaks off in between: a disabled user looks done, whereas nothing shows
        // whether its sessions have ended.
        if change.to.sign_out {
            aws.cognito().admin_user_global_sign_out().user_pool_id(&at.pool).username(&name).send().await?;
        }
        aws.cognito().admin_disable_user().user_pool_id(&at.pool).username(name).send().await?;
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

/// A name from the pool or the rule, as it may stand in a message.
fn shown(name: &str) -> String {
    name.chars().take(64).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

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

    fn plan(now: &State, params: &Params) -> Plan<State> {
        seen(now, params, Some(100))
    }

    /// The plan for a user who was last seen so many days ago.
    fn seen(now: &State, params: &Params, days: Option<i64>) -> Plan<State> {
        let mut ask = ask(CONTROL, params);
        ask.since = days.map(|days| ask.at - SignedDuration::from_hours(24 * days));
        DisableUser::plan(now, &ask)
    }

    #[test]
    fn without_proof_of_inactivity_nobody_is_disabled() {
        let params = Params::default();
        assert!(matches!(seen(&state(), &params, None), Plan::Refuse(why) if why.contains("no activity")));
        assert!(matches!(seen(&state(), &params, Some(89)), Plan::Refuse(why) if why.contains("is active")));
        assert!(matches!(seen(&state(), &params, Some(90)), Plan::Change(_)));
        assert!(matches!(seen(&state(), &params, Some(-1)), Plan::Refuse(_)), "a time in the future");
    }

    #[test]
    fn disables_and_changes_nothing_else() {
        for sign_out in [false, true] {
            let params = Params { sign_out, ..Params::default() };
            let Plan::Change(change) = plan(&state(), &params) else { panic!("no change") };
            assert_eq!(change.to, State { enabled: false, sign_out, ..state() });
            assert_eq!(change.risk, Risk::Access);
            // What is observed after it: the wish is no part of what is there.
            assert_eq!(plan(&State { sign_out: false, ..change.to }, &params), Plan::Compliant);
        }
    }

    #[test]
    fn who_is_protected_is_refused_by_name_of_the_reason() {
        let params = Params { protected_groups: names(&["admins", "staff"]), ..Params::default() };
        let exempt = State { marks: names(&["custom:redress_exempt"]), ..state() };
        let federated = State { status: "EXTERNAL_PROVIDER".to_owned(), ..state() };
        for (now, params, reason) in [
            (&state(), &params, "`staff`"),
            (&exempt, &Params::default(), "`custom:redress_exempt`"),
            (&federated, &Params::default(), "`federated`"),
        ] {
            assert!(matches!(plan(now, params), Plan::Refuse(why) if why.contains(reason)), "{reason}");
            let disabled = State { enabled: false, ..now.clone() };
            assert_eq!(plan(&disabled, params), Plan::Compliant);
        }
        let open = Params { federated: true, ..Params::default() };
        assert!(matches!(plan(&federated, &open), Plan::Change(_)));
        let other = Params { exempt_attribute: "custom:other".to_owned(), ..Params::default() };
        assert!(matches!(plan(&exempt, &other), Plan::Change(_)));
    }

    #[test]
    fn a_name_from_the_pool_stands_escaped_and_cut_in_a_message() {
        let hostile = format!("\u{1b}[2J\n{}", "x".repeat(200));
        let params = Params { protected_groups: names(&[&hostile]), ..Params::default() };
        let now = State { groups: names(&[&hostile]), ..state() };
        let Plan::Refuse(why) = plan(&now, &params) else { panic!("not refused") };
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
    fn an_exemption_by_an_attribute_that_is_not_read_is_no_rule() {
        let read = |text: &str| serde_json::from_str::<Params>(text);
        assert_eq!(read("{}").unwrap().exempt_attribute, "custom:redress_exempt");
        assert!(read(r#"{"exempt_attribute": "dev:custom:keep"}"#).is_ok());
        for text in ["email", "custom:", "", "dev:email"] {
            let error = read(&format!(r#"{{"exempt_attribute": "{text}"}}"#)).unwrap_err();
            assert!(error.to_string().contains("custom attribute"), "{error}");
        }
    }

    #[test]
    fn records_of_its_state_stay_readable() {
        let stored = r#"{"enabled":true,"status":"CONFIRMED","groups":["readers","staff"],"marks":["custom:team"],"sign_out":false}"#;
        assert_eq!(serde_json::to_string(&state()).unwrap(), stored);
        let least: State = serde_json::from_str(r#"{"enabled":false}"#).unwrap();
        assert!(!least.enabled && least.groups.is_empty() && !least.sign_out);
    }
}
