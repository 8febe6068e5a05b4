//! Makes the password policy of a user pool as strict as it should be.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    pool::{self, Pool},
    settings::Settings,
};
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct StrengthenPasswords;

/// The longest that Cognito lets a policy ask for:
/// <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_PasswordPolicyType.html>.
const LONGEST: u32 = 99;

/// For how many days a temporary password is valid where a pool says nothing.
const WEEK: u32 = 7;

/// What a password must have in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Character {
    Lowercase,
    Uppercase,
    Numbers,
    Symbols,
}

impl Character {
    const ALL: [Self; 4] = [Self::Lowercase, Self::Uppercase, Self::Numbers, Self::Symbols];

    /// The member of the policy. The control's parameter is called the same.
    fn member(self) -> &'static str {
        match self {
            Self::Lowercase => "RequireLowercase",
            Self::Uppercase => "RequireUppercase",
            Self::Numbers => "RequireNumbers",
            Self::Symbols => "RequireSymbols",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// The least length of a password, where that is more than the control asks for: at most 99.
    #[schemars(range(min = 6, max = 99))]
    minimum_length: Option<u32>,
    /// What a password must have in it, besides what the control asks for.
    require: BTreeSet<Character>,
    /// For how many days a temporary password is valid, where that is less than the control allows.
    #[schemars(range(min = 1, max = 365))]
    temporary_password_days: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Passwords {
    length: u32,
    require: BTreeSet<Character>,
    temporary_days: u32,
    /// What an update of the pool might reset. Read, never altered.
    #[serde(default)]
    at_risk: Option<String>,
}

impl Remediator for StrengthenPasswords {
    const SPEC: Spec = Spec {
        name: "cognito.strengthen_passwords",
        version: 1,
        controls: &["Cognito.3"],
        risk: Risk::Access,
        what: "Makes the password policy of a user pool as strict as the control or the rule asks for, whichever is \
               stricter: least length, kinds of characters, and for how long a temporary password is valid. What is \
               stricter already stays, and so do all other settings of the pool, which are sent back as they were \
               read; a pool with one that is not known to be taken back is refused.",
        who_notices: "Whoever chooses a password from now on, and applications that choose or check them by rules of \
                      their own: a weak one is refused. Passwords that exist go on to work. A temporary password may \
                      end sooner, and its user needs a new invitation.",
        way_back: "Puts back the parts of the policy that it changed. Passwords that were chosen meanwhile stay.",
        reads: &[],
        writes: &[Action::new("cognito-idp:UpdateUserPool", On::Resource)],
        undo: &[],
        implied: &[pool::PASSES_ROLE],
    };
    type Resource = Pool;
    type Params = Params;
    type State = Passwords;

    async fn observe(aws: &Aws, at: &Pool) -> Result<Passwords> {
        read(&at.settings(aws).await?)
    }

    fn plan(now: &Passwords, ask: &Ask<'_, Params>) -> Plan<Passwords> {
        let wanted = match Wanted::of(ask) {
            Ok(wanted) => wanted,
            Err(why) => return Plan::Refuse(why),
        };
        let to = Passwords {
            length: now.length.max(wanted.length),
            require: now.require.union(&wanted.require).copied().collect(),
            temporary_days: now.temporary_days.min(wanted.temporary_days),
            at_risk: now.at_risk.clone(),
        };
        if to == *now {
            return Plan::Compliant;
        }
        if let Some(what) = &now.at_risk {
            return Plan::Refuse(pool::refusal(what));
        }
        let mut notes = vec!["passwords that exist go on to work, however weak".to_owned()];
        if to.temporary_days != now.temporary_days {
            let days = to.temporary_days;
            notes.push(format!("invitations whose temporary password is older than {days} days end"));
        }
        Plan::Change(Proposal { to, risk: Risk::Access, notes })
    }

    async fn apply(aws: &Aws, at: &Pool, change: &Change<Passwords>) -> Result<()> {
        at.change(aws, |settings| write(settings, change)).await
    }

    fn undo(change: &Change<Passwords>, now: &Passwords) -> Undo<Passwords> {
        let back = |from: u32, to: u32, now: u32| match now {
            _ if from == to => Some(now),
            now if now == from || now == to => Some(from),
            _ => None,
        };
        let (from, to) = (&change.from, &change.to);
        let Some(length) = back(from.length, to.length, now.length) else {
            return Undo::Refuse("the least length has been changed since".to_owned());
        };
        let Some(temporary_days) = back(from.temporary_days, to.temporary_days, now.temporary_days) else {
            return Undo::Refuse("the days of temporary passwords have been changed since".to_owned());
        };
        let added: BTreeSet<Character> = to.require.difference(&from.require).copied().collect();
        let require = now.require.difference(&added).copied().collect();
        let back = Passwords { length, require, temporary_days, at_risk: now.at_risk.clone() };
        match &now.at_risk {
            _ if back == *now => Undo::Nothing,
            Some(what) => Undo::Refuse(pool::refusal(what)),
            None => Undo::To { to: back, notes: vec!["weaker passwords are taken again".to_owned()] },
        }
    }

    fn wants_control_params(_: &str, _: &Params) -> bool {
        true
    }
}

fn read(pool: &Settings) -> Result<Passwords> {
    let policy = pool.get("Policies").and_then(|policies| policies.get("PasswordPolicy"));
    let number = |value: Option<&Value>| value.and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let member = |name: &str| policy.and_then(|policy| policy.get(name));
    let Some(length) = number(member("MinimumLength")) else {
        return Err(Error::new(ErrorKind::Invalid, "the answer does not say how long a password must be"));
    };
    // Of pools that never had the newer setting, the older one counts.
    let older = pool.get("AdminCreateUserConfig").and_then(|config| config.get("UnusedAccountValidityDays"));
    let days = number(member("TemporaryPasswordValidityDays"));
    let days = days.or(number(older).filter(|days| *days > 0)).unwrap_or(WEEK);
    let is_required = |one: &Character| member(one.member()).and_then(Value::as_bool) == Some(true);
    Ok(Passwords {
        length,
        require: Character::ALL.into_iter().filter(is_required).collect(),
        temporary_days: days,
        at_risk: pool::at_risk(pool),
    })
}

/// Sets what differs between the change's two states, and nothing else.
fn write(settings: &mut Settings, change: &Change<Passwords>) {
    let (from, to) = (&change.from, &change.to);
    if to.temporary_days != from.temporary_days
        && let Some(Value::Object(config)) = settings.get_mut("AdminCreateUserConfig")
    {
        // Refused beside its successor.
        config.remove("UnusedAccountValidityDays");
    }
    let empty = || Value::Object(Map::new());
    let Value::Object(policies) = settings.entry("Policies").or_insert_with(empty) else { return };
    let Value::Object(policy) = policies.entry("PasswordPolicy").or_insert_with(empty) else { return };
    if to.length != from.length {
        policy.insert("MinimumLength".to_owned(), to.length.into());
    }
    for one in to.require.symmetric_difference(&from.require) {
        policy.insert(one.member().to_owned(), to.require.contains(one).into());
    }
    if to.temporary_days != from.temporary_days {
        policy.insert("TemporaryPasswordValidityDays".to_owned(), to.temporary_days.into());
    }
}

/// What control and rule ask for together.
struct Wanted {
    length: u32,
    require: BTreeSet<Character>,
    temporary_days: u32,
}

impl Wanted {
    /// AWS's defaults stand for what is not known: nothing becomes weaker by them.
    fn of(ask: &Ask<'_, Params>) -> Result<Self, String> {
        let Params { minimum_length, require, temporary_password_days } = ask.params;
        let length = ask.parameter("minLength")?.unwrap_or(8).max(minimum_length.unwrap_or_default());
        if length > LONGEST {
            return Err(format!(
                "a password of {length} characters is asked for, and Cognito takes {LONGEST}"
            ));
        }
        let allowed = ask.parameter("temporaryPasswordValidity")?.unwrap_or(WEEK);
        let temporary_days = allowed.min(temporary_password_days.unwrap_or(allowed));
        if temporary_days == 0 {
            return Err("a temporary password is to be valid for at least one day".to_owned());
        }
        let mut require = require.clone();
        for one in Character::ALL {
            if ask.parameter(one.member())?.unwrap_or(true) {
                require.insert(one);
            }
        }
        Ok(Self { length, require, temporary_days })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::remediator::test::ask;

    fn state(length: u32, require: &[Character], temporary_days: u32) -> Passwords {
        Passwords { length, require: require.iter().copied().collect(), temporary_days, at_risk: None }
    }

    fn plan(now: &Passwords, params: &Params, known: &[(&str, &str)]) -> Plan<Passwords> {
        let known: BTreeMap<_, _> =
            known.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect();
        StrengthenPasswords::plan(now, &Ask { control_params: Some(&known), ..ask("Cognito.3", params) })
    }

    fn refused(plan: &Plan<Passwords>, why: &str) -> bool {
        matches!(plan, Plan::Refuse(said) if said.contains(why))
    }

    #[test]
    fn the_strictest_of_policy_control_and_rule_counts() {
        use Character::{Lowercase, Numbers};
        let all = Character::ALL;
        let none = Params::default();
        let rule =
            Params { minimum_length: Some(12), require: [Numbers].into(), temporary_password_days: Some(3) };
        let lax: &[(&str, &str)] = &[
            ("minLength", "10"),
            ("requireLowercase", "true"),
            ("requireUppercase", "false"),
            ("requireNumbers", "false"),
            ("requireSymbols", "False"),
            ("temporaryPasswordValidity", "30"),
        ];
        for (now, params, known, to) in [
            (state(6, &[], 90), &none, &[][..], Some(state(8, &all, 7))),
            (state(20, &all, 1), &none, &[], None),
            (state(8, &all, 7), &rule, &[], Some(state(12, &all, 3))),
            (state(6, &[], 90), &none, lax, Some(state(10, &[Lowercase], 30))),
            (state(6, &[], 90), &rule, lax, Some(state(12, &[Lowercase, Numbers], 3))),
            (state(11, &all, 7), &none, lax, None),
        ] {
            let planned = plan(&now, params, known);
            match to {
                Some(to) => {
                    assert!(matches!(&planned, Plan::Change(change) if change.to == to), "{planned:?}");
                }
                None => assert_eq!(planned, Plan::Compliant),
            }
        }
    }

    #[test]
    fn what_can_not_be_set_is_refused() {
        let (now, none) = (state(6, &[], 7), Params::default());
        assert!(refused(&plan(&now, &none, &[("minLength", "128")]), "takes 99"));
        assert!(refused(&plan(&now, &none, &[("minLength", "long")]), "`long`"));
        assert!(refused(&plan(&now, &none, &[("requireSymbols", "maybe")]), "`maybe`"));
        let at_risk = Passwords { at_risk: Some("`New`".to_owned()), ..now };
        assert!(refused(&plan(&at_risk, &none, &[]), "`New`"));
        let never = Params { temporary_password_days: Some(0), ..none };
        assert!(refused(&plan(&at_risk, &never, &[]), "one day"));
    }

    #[test]
    fn only_what_differs_is_written() {
        let mut settings = match json!({
            "Policies": {
                "PasswordPolicy": { "MinimumLength": 6, "RequireSymbols": false, "PasswordHistorySize": 3 },
                "SignInPolicy": { "AllowedFirstAuthFactors": ["PASSWORD"] },
            },
            "AdminCreateUserConfig": { "UnusedAccountValidityDays": 30 },
        }) {
            Value::Object(settings) => settings,
            other => panic!("{other}"),
        };
        assert_eq!(read(&settings).unwrap(), state(6, &[], 30));
        let change = Change { from: state(6, &[], 30), to: state(8, &[Character::Symbols], 7) };
        write(&mut settings, &change);
        let expected = json!({
            "Policies": {
                "PasswordPolicy": {
                    "MinimumLength": 8, "RequireSymbols": true, "PasswordHistorySize": 3,
                    "TemporaryPasswordValidityDays": 7,
                },
                "SignInPolicy": { "AllowedFirstAuthFactors": ["PASSWORD"] },
            },
            "AdminCreateUserConfig": {},
        });
        assert_eq!(Value::Object(settings), expected);
        assert!(read(&Map::new()).is_err());
    }

    #[test]
    fn goes_back_part_by_part_unless_somebody_has_changed_it() {
        use Character::{Numbers, Symbols};
        let change = Change { from: state(6, &[Numbers], 7), to: state(8, &[Numbers, Symbols], 7) };
        let undo = |now: Passwords| StrengthenPasswords::undo(&change, &now);
        let back = |now, expected| matches!(undo(now), Undo::To { to, .. } if to == expected);
        assert!(back(state(8, &[Numbers, Symbols], 7), state(6, &[Numbers], 7)));
        // A change beside it stays.
        assert!(back(state(8, &[Symbols], 3), state(6, &[], 3)));
        assert!(back(state(6, &[Numbers, Symbols], 7), state(6, &[Numbers], 7)));
        assert_eq!(undo(state(6, &[Numbers], 7)), Undo::Nothing);
        assert!(matches!(undo(state(10, &[Numbers, Symbols], 7)), Undo::Refuse(_)));
    }
}
