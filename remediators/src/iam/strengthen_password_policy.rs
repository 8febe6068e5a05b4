//! Strengthens the account's password policy for IAM users.

use std::collections::{BTreeMap, BTreeSet};

use roxmltree::Document;

use crate::{account::AwsAccount, body::Answer, prelude::*, remediator::Proposal};

pub(crate) struct StrengthenPasswordPolicy;

/// What a rule may allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Whether passwords may be made to expire while the policy's hard expiry is on: then whoever has an older one is
    /// locked out of the console until an administrator resets it.
    lock_out: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// `None` where the account has no policy of its own, and AWS's default one holds.
    policy: Option<Policy>,
    /// Settings that IAM returns and that are not known here: a write would reset them. Read, never altered.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    unknown: BTreeSet<String>,
}

/// All of a policy: whatever a write leaves out is reset
/// ([API](https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateAccountPasswordPolicy.html)).
#[expect(clippy::struct_excessive_bools, reason = "they are IAM's own")]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Policy {
    minimum_length: i32,
    uppercase: bool,
    lowercase: bool,
    numbers: bool,
    symbols: bool,
    /// How many older passwords can't be taken again; `None` for none.
    reuse_prevention: Option<i32>,
    /// In days; `None` where passwords don't expire.
    max_age: Option<i32>,
    hard_expiry: bool,
    users_may_change: bool,
}

/// AWS's default policy, as near as one of the account's own can come without being weaker: that asks for three of
/// the four kinds of characters, whichever
/// ([user guide](https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_passwords_account-policy.html)).
const DEFAULT: Policy = Policy {
    minimum_length: 8,
    uppercase: true,
    lowercase: true,
    numbers: true,
    symbols: false,
    reuse_prevention: None,
    max_age: None,
    hard_expiry: false,
    users_may_change: false,
};

/// What IAM is known to return of a policy.
const KNOWN: [&str; 10] = [
    "AllowUsersToChangePassword",
    "ExpirePasswords",
    "HardExpiry",
    "MaxPasswordAge",
    "MinimumPasswordLength",
    "PasswordReusePrevention",
    "RequireLowercaseCharacters",
    "RequireNumbers",
    "RequireSymbols",
    "RequireUppercaseCharacters",
];

impl Remediator for StrengthenPasswordPolicy {
    const SPEC: Spec = Spec {
        name: "iam.strengthen_password_policy",
        version: 1,
        controls: &["IAM.7", "IAM.10", "IAM.11", "IAM.12", "IAM.13", "IAM.14", "IAM.15", "IAM.16", "IAM.17"],
        risk: Risk::Access,
        what: "Sets those settings of the account's password policy that the control asks for and that are weaker; \
               stricter ones stay, and so does everything else. Where the account has no policy, it makes one that \
               is no weaker than AWS's default: 8 characters with uppercase, lowercase and digits. Hard expiry is \
               never turned on, and a policy that has it is not made to expire passwords sooner unless the rule \
               says so.",
        who_notices: "IAM users with a console password, when they next choose one. Where passwords expire sooner \
                      than before, whoever has an older one must choose a new one at the next sign-in, and whoever \
                      may not change passwords needs an administrator for it. AWS's default policy also rules out \
                      the account's name and e-mail address as passwords, and one of the account's own does not.",
        way_back: "Sets back the settings that it changed and that are still as it left them; deletes the policy \
                   where there was none. Passwords that were changed meanwhile stay.",
        reads: &[Action::new("iam:GetAccountPasswordPolicy", On::Anything)],
        writes: &[Action::new("iam:UpdateAccountPasswordPolicy", On::Anything)],
        undo: &[Action::new("iam:DeleteAccountPasswordPolicy", On::Anything)],
        implied: &[],
    };
    type Resource = AwsAccount;
    type Params = Params;
    type State = State;

    async fn observe(aws: &Aws, _: &AwsAccount) -> Result<State> {
        let answer = Answer::default();
        let request = aws.iam().get_account_password_policy().customize().interceptor(answer.clone());
        let found = request.send().await.absent_if("NoSuchEntity")?;
        let Some(found) = found.and_then(|found| found.password_policy) else {
            return Ok(State { policy: None, unknown: BTreeSet::new() });
        };
        let policy = Policy {
            minimum_length: found.minimum_password_length.unwrap_or(6),
            uppercase: found.require_uppercase_characters,
            lowercase: found.require_lowercase_characters,
            numbers: found.require_numbers,
            symbols: found.require_symbols,
            reuse_prevention: found.password_reuse_prevention.filter(|&number| number > 0),
            max_age: found.max_password_age.filter(|&days| days > 0),
            hard_expiry: found.hard_expiry.unwrap_or(false),
            users_may_change: found.allow_users_to_change_password,
        };
        Ok(State { policy: Some(policy), unknown: unknown(&answer.text()?)? })
    }

    fn plan(now: &State, ask: &Ask<'_, Params>) -> Plan<State> {
        let demands = match Demands::of(ask) {
            Ok(demands) => demands,
            Err(why) => return Plan::Refuse(why),
        };
        let before = now.policy.unwrap_or(DEFAULT);
        let policy = demands.met_by(before);
        // The Config rule does not take AWS's default policy for one:
        // https://docs.aws.amazon.com/config/latest/developerguide/iam-password-policy.html
        if now.policy == Some(policy) {
            return Plan::Compliant;
        }
        if let Some(why) = now.is_incomplete() {
            return Plan::Refuse(why);
        }
        let expires = policy.max_age.filter(|_| policy.max_age != before.max_age);
        if expires.is_some() && policy.hard_expiry && !ask.params.lock_out {
            return Plan::Refuse(
                "the policy's hard expiry is on: whoever has an older password would be locked out until an \
                 administrator resets it; turn it off first, or the rule can say `lock_out`"
                    .to_owned(),
            );
        }
        let mut notes = Vec::new();
        if now.policy.is_none() {
            notes.push(
                "the account has no policy of its own: AWS's default one ends, and as undo deletes the new one it \
                 holds again"
                    .to_owned(),
            );
        }
        if let Some(days) = expires {
            notes.push(if policy.hard_expiry {
                format!("passwords older than {days} days lock their users out until an administrator resets them")
            } else {
                format!("passwords older than {days} days expire: their users must choose new ones at the next sign-in")
            });
            if !policy.users_may_change {
                notes.push(
                    "by the policy, users may not change their passwords: an administrator must, for whoever has no \
                     `iam:ChangePassword` of their own"
                        .to_owned(),
                );
            }
        }
        if (Policy { max_age: before.max_age, ..policy }) != before || now.policy.is_none() {
            notes.push("what passwords must be like holds for those that are chosen from now on".to_owned());
        }
        let to = State { policy: Some(policy), ..now.clone() };
        Plan::Change(Proposal { to, risk: Risk::Access, notes })
    }

    async fn apply(aws: &Aws, _: &AwsAccount, change: &Change<State>) -> Result<()> {
        let Some(policy) = change.to.policy else {
            let deleted = aws.iam().delete_account_password_policy().send().await;
            return deleted.absent_if("NoSuchEntity").map(drop);
        };
        aws.iam()
            .update_account_password_policy()
            .minimum_password_length(policy.minimum_length)
            .require_uppercase_characters(policy.uppercase)
            .require_lowercase_characters(policy.lowercase)
            .require_numbers(policy.numbers)
            .require_symbols(policy.symbols)
            .hard_expiry(policy.hard_expiry)
            .allow_users_to_change_password(policy.users_may_change)
            // "Never" and "none" are said by silence: 0 is not taken.
            .set_password_reuse_prevention(policy.reuse_prevention)
            .set_max_password_age(policy.max_age)
            .send()
            .await?;
        Ok(())
    }

    fn undo(change: &Change<State>, now: &State) -> Undo<State> {
        let to = match (change.from.policy, change.to.policy, now.policy) {
            (from, _, is) if from == is => return Undo::Nothing,
            (_, _, None) => return Undo::Refuse("the password policy has been deleted since".to_owned()),
            (None, Some(to), Some(is)) if to == is => None,
            (Some(from), Some(to), Some(is)) => match back(&from, &to, &is) {
                Some(policy) if policy == is => return Undo::Nothing,
                Some(policy) => Some(policy),
                None => return Undo::Refuse("what the run set has been changed since".to_owned()),
            },
            _ => {
                return Undo::Refuse("the policy that the run made has been changed since".to_owned());
            }
        };
        if let Some(why) = now.is_incomplete().filter(|_| to.is_some()) {
            return Undo::Refuse(why);
        }
        let default = "AWS's default password policy holds again".to_owned();
        let notes = if to.is_none() { vec![default] } else { Vec::new() };
        Undo::To { to: State { policy: to, ..now.clone() }, notes }
    }

    fn wants_control_params(control: &str, _: &Params) -> bool {
        control == "IAM.7"
    }
}

impl State {
    /// Why a write would lose something.
    fn is_incomplete(&self) -> Option<String> {
        let name = self.unknown.first()?;
        Some(format!(
            "the policy has a setting `{}`, which this version does not know and a write would reset",
            name.escape_debug()
        ))
    }
}

/// The settings of an answer that are not known here.
fn unknown(answer: &str) -> Result<BTreeSet<String>> {
    let invalid =
        |why: String| Error::new(ErrorKind::Invalid, format!("the password policy can't be read: {why}"));
    let document = Document::parse(answer).map_err(|error| invalid(error.to_string()))?;
    let policy = document
        .descendants()
        .find(|node| node.tag_name().name() == "PasswordPolicy")
        .ok_or_else(|| invalid("there is none in the answer".to_owned()))?;
    let names = policy.children().filter(roxmltree::Node::is_element).map(|node| node.tag_name().name());
    Ok(names.filter(|name| !KNOWN.contains(name)).map(|name| name.chars().take(64).collect()).collect())
}

/// `is`, with each setting that differs between `from` and `to` as it was; `None` where one of these is neither.
fn back(from: &Policy, to: &Policy, is: &Policy) -> Option<Policy> {
    fn one<T: Copy + PartialEq>(from: T, to: T, is: T) -> Option<T> {
        if from == to || is == from { Some(is) } else { (is == to).then_some(from) }
    }
    Some(Policy {
        minimum_length: one(from.minimum_length, to.minimum_length, is.minimum_length)?,
        uppercase: one(from.uppercase, to.uppercase, is.uppercase)?,
        lowercase: one(from.lowercase, to.lowercase, is.lowercase)?,
        numbers: one(from.numbers, to.numbers, is.numbers)?,
        symbols: one(from.symbols, to.symbols, is.symbols)?,
        reuse_prevention: one(from.reuse_prevention, to.reuse_prevention, is.reuse_prevention)?,
        max_age: one(from.max_age, to.max_age, is.max_age)?,
        hard_expiry: one(from.hard_expiry, to.hard_expiry, is.hard_expiry)?,
        users_may_change: one(from.users_may_change, to.users_may_change, is.users_may_change)?,
    })
}

/// What a control asks for.
#[expect(clippy::struct_excessive_bools, reason = "they are IAM's own")]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Demands {
    minimum_length: i32,
    uppercase: bool,
    lowercase: bool,
    numbers: bool,
    symbols: bool,
    reuse_prevention: Option<i32>,
    max_age: Option<i32>,
}

impl Demands {
    /// <https://docs.aws.amazon.com/securityhub/latest/userguide/iam-controls.html>: only IAM.7 can be set otherwise.
    fn of(ask: &Ask<'_, Params>) -> Result<Self, String> {
        let none = Self::default();
        Ok(match ask.control {
            "IAM.7" => Self::set(ask.control_params)?,
            "IAM.10" => Self {
                minimum_length: 7,
                uppercase: true,
                lowercase: true,
                numbers: true,
                reuse_prevention: Some(4),
                max_age: Some(90),
                ..none
            },
            "IAM.11" => Self { uppercase: true, ..none },
            "IAM.12" => Self { lowercase: true, ..none },
            "IAM.13" => Self { symbols: true, ..none },
            "IAM.14" => Self { numbers: true, ..none },
            "IAM.15" => Self { minimum_length: 14, ..none },
            "IAM.16" => Self { reuse_prevention: Some(24), ..none },
            "IAM.17" => Self { max_age: Some(90), ..none },
            other => {
                return Err(format!("`{}` is no control about the password policy", other.escape_debug()));
            }
        })
    }

    /// AWS's defaults, with what the account has set in their stead.
    fn set(known: Option<&BTreeMap<String, Vec<String>>>) -> Result<Self, String> {
        let mut demands = Self {
            minimum_length: 8,
            uppercase: true,
            lowercase: true,
            numbers: true,
            symbols: true,
            reuse_prevention: None,
            max_age: None,
        };
        for (name, values) in known.into_iter().flatten() {
            let values: Vec<&str> =
                values.iter().map(|value| value.trim()).filter(|value| !value.is_empty()).collect();
            let value = match values.as_slice() {
                [] => continue,
                [value] => *value,
                _ => {
                    return Err(format!(
                        "the control's parameter `{}` has several values",
                        name.escape_debug()
                    ));
                }
            };
            let other = || {
                let value: String = value.chars().take(64).collect();
                format!(
                    "the control's parameter `{}` can't be `{}`",
                    name.escape_debug(),
                    value.escape_debug()
                )
            };
            let truth = || value.to_ascii_lowercase().parse().map_err(|_| other());
            // The ranges that IAM takes.
            let number =
                |most: i32| value.parse().ok().filter(|number| (1..=most).contains(number)).ok_or_else(other);
            match name.as_str() {
                "RequireUppercaseCharacters" => demands.uppercase = truth()?,
                "RequireLowercaseCharacters" => demands.lowercase = truth()?,
                "RequireNumbers" => demands.numbers = truth()?,
                "RequireSymbols" => demands.symbols = truth()?,
                "MinimumPasswordLength" => demands.minimum_length = number(128)?,
                "PasswordReusePrevention" => demands.reuse_prevention = Some(number(24)?),
                "MaxPasswordAge" => demands.max_age = Some(number(1095)?),
                _ => return Err(format!("the control has an unknown parameter `{}`", name.escape_debug())),
            }
        }
        Ok(demands)
    }

    /// The policy, as strict in each setting as it was or as is asked for.
    fn met_by(&self, policy: Policy) -> Policy {
        let sooner = |one: i32, other: Option<i32>| other.map_or(one, |other| other.min(one));
        Policy {
            minimum_length: policy.minimum_length.max(self.minimum_length),
            uppercase: policy.uppercase || self.uppercase,
            lowercase: policy.lowercase || self.lowercase,
            numbers: policy.numbers || self.numbers,
            symbols: policy.symbols || self.symbols,
            reuse_prevention: policy.reuse_prevention.max(self.reuse_prevention),
            max_age: self.max_age.map_or(policy.max_age, |asked| Some(sooner(asked, policy.max_age))),
            ..policy
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    const WEAK: Policy = Policy {
        minimum_length: 6,
        uppercase: false,
        lowercase: false,
        numbers: false,
        symbols: false,
        reuse_prevention: None,
        max_age: None,
        hard_expiry: false,
        users_may_change: true,
    };

    const STRICT: Policy = Policy {
        minimum_length: 20,
        uppercase: true,
        lowercase: true,
        numbers: true,
        symbols: true,
        reuse_prevention: Some(24),
        max_age: Some(30),
        hard_expiry: true,
        users_may_change: false,
    };

    fn state(policy: impl Into<Option<Policy>>) -> State {
        State { policy: policy.into(), unknown: BTreeSet::new() }
    }

    fn known(all: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
        all.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect()
    }

    fn plan_with(now: &State, control: &str, params: Params, set: &[(&str, &str)]) -> Plan<State> {
        let set = known(set);
        let ask = Ask { control_params: Some(&set), ..ask(control, &params) };
        let plan = StrengthenPasswordPolicy::plan(now, &ask);
        if let Plan::Change(change) = &plan {
            assert_eq!(StrengthenPasswordPolicy::plan(&change.to, &ask), Plan::Compliant, "{control}");
            assert_eq!(change.risk, Risk::Access);
        }
        plan
    }

    fn plan(now: &State, control: &str) -> Plan<State> {
        plan_with(now, control, Params::default(), &[])
    }

    fn made(plan: Plan<State>) -> Policy {
        let Plan::Change(change) = plan else { panic!("{plan:?}") };
        change.to.policy.unwrap()
    }

    #[test]
    fn each_control_sets_what_it_asks_for_and_nothing_else() {
        let table = [
            (
                "IAM.7",
                Policy {
                    minimum_length: 8,
                    uppercase: true,
                    lowercase: true,
                    numbers: true,
                    symbols: true,
                    ..WEAK
                },
            ),
            (
                "IAM.10",
                Policy {
                    minimum_length: 7,
                    uppercase: true,
                    lowercase: true,
                    numbers: true,
                    reuse_prevention: Some(4),
                    max_age: Some(90),
                    ..WEAK
                },
            ),
            ("IAM.11", Policy { uppercase: true, ..WEAK }),
            ("IAM.12", Policy { lowercase: true, ..WEAK }),
            ("IAM.13", Policy { symbols: true, ..WEAK }),
            ("IAM.14", Policy { numbers: true, ..WEAK }),
            ("IAM.15", Policy { minimum_length: 14, ..WEAK }),
            ("IAM.16", Policy { reuse_prevention: Some(24), ..WEAK }),
            ("IAM.17", Policy { max_age: Some(90), ..WEAK }),
        ];
        assert_eq!(table.map(|(control, _)| control).as_slice(), StrengthenPasswordPolicy::SPEC.controls);
        for (control, expected) in table {
            assert_eq!(made(plan(&state(WEAK), control)), expected, "{control}");
            assert_eq!(plan(&state(STRICT), control), Plan::Compliant, "{control}");
            // AWS's default policy is no policy to the control, and nothing gets weaker than it was.
            let new = made(plan(&state(None), control));
            assert!(new.minimum_length >= 8 && new.uppercase && new.lowercase && new.numbers, "{control}");
            assert!(!new.hard_expiry && !new.users_may_change, "{control}");
        }
        assert!(matches!(plan(&state(WEAK), "IAM.3"), Plan::Refuse(_)));
    }

    #[test]
    fn what_the_account_has_set_for_the_control_counts() {
        assert!(StrengthenPasswordPolicy::wants_control_params("IAM.7", &Params::default()));
        let set = [
            ("RequireSymbols", "false"),
            ("RequireNumbers", "True"),
            ("MinimumPasswordLength", "12"),
            ("PasswordReusePrevention", "12"),
            ("MaxPasswordAge", "60"),
        ];
        let new = made(plan_with(&state(WEAK), "IAM.7", Params::default(), &set));
        let expected = Policy {
            minimum_length: 12,
            uppercase: true,
            lowercase: true,
            numbers: true,
            reuse_prevention: Some(12),
            max_age: Some(60),
            ..WEAK
        };
        assert_eq!(new, expected);
        // The other controls have none.
        let new = made(plan_with(&state(WEAK), "IAM.15", Params::default(), &set));
        assert_eq!(new, Policy { minimum_length: 14, ..WEAK });
        for one in [
            ("RequireSymbols", "maybe"),
            ("MinimumPasswordLength", "0"),
            ("MinimumPasswordLength", "129"),
            ("PasswordReusePrevention", "25"),
            ("MaxPasswordAge", "-1"),
            ("Something", "1"),
        ] {
            let refused = plan_with(&state(WEAK), "IAM.7", Params::default(), &[one]);
            assert!(matches!(refused, Plan::Refuse(why) if why.contains(one.0)), "{one:?}");
        }
    }

    #[test]
    fn nobody_is_locked_out_by_hard_expiry_unless_the_rule_says_so() {
        for max_age in [None, Some(365)] {
            let hard = state(Policy { hard_expiry: true, max_age, ..WEAK });
            for control in ["IAM.10", "IAM.17"] {
                assert!(
                    matches!(plan(&hard, control), Plan::Refuse(why) if why.contains("lock_out")),
                    "{control}"
                );
                let said = plan_with(&hard, control, Params { lock_out: true }, &[]);
                let new = made(said);
                assert_eq!((new.hard_expiry, new.max_age), (true, Some(90)));
            }
            // What does not expire passwords is none of its business.
            assert_eq!(made(plan(&hard, "IAM.11")).max_age, max_age);
        }
    }

    #[test]
    fn it_is_said_whose_passwords_expire() {
        let notes = |now: Policy| match plan(&state(now), "IAM.17") {
            Plan::Change(change) => change.notes.join("\n"),
            other => panic!("{other:?}"),
        };
        assert!(notes(WEAK).contains("older than 90 days expire"));
        assert!(!notes(WEAK).contains("administrator"));
        assert!(notes(Policy { users_may_change: false, ..WEAK }).contains("administrator"));
    }

    #[test]
    fn a_setting_that_is_not_known_is_not_reset() {
        let answer = "<R xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><PasswordPolicy>\
                      <RequireSymbols>true</RequireSymbols><ForbidNames>true</ForbidNames></PasswordPolicy></R>";
        let unknown = unknown(answer).unwrap();
        assert_eq!(unknown, BTreeSet::from(["ForbidNames".to_owned()]));
        assert!(super::unknown("<R/>").is_err() && super::unknown("no").is_err());
        let now = State { unknown, ..state(WEAK) };
        assert!(matches!(plan(&now, "IAM.11"), Plan::Refuse(why) if why.contains("`ForbidNames`")));
        assert_eq!(plan(&State { policy: Some(STRICT), ..now.clone() }, "IAM.11"), Plan::Compliant);
        let change = Change { from: state(Policy { symbols: true, ..WEAK }), to: state(WEAK) };
        assert!(matches!(StrengthenPasswordPolicy::undo(&change, &now), Undo::Refuse(_)));
    }

    #[test]
    fn undo_puts_back_what_the_run_changed_and_only_that() {
        let changed = Policy { symbols: true, minimum_length: 14, ..WEAK };
        let change = Change { from: state(WEAK), to: state(changed) };
        let undo = |now: Option<Policy>| StrengthenPasswordPolicy::undo(&change, &state(now));
        assert!(matches!(undo(Some(changed)), Undo::To { to, .. } if to == change.from));
        assert_eq!(undo(Some(WEAK)), Undo::Nothing);
        let beside = Policy { max_age: Some(30), users_may_change: false, ..changed };
        let expected = Policy { max_age: Some(30), users_may_change: false, ..WEAK };
        assert!(matches!(undo(Some(beside)), Undo::To { to, .. } if to == state(expected)));
        assert_eq!(undo(Some(expected)), Undo::Nothing);
        assert!(matches!(undo(Some(Policy { minimum_length: 20, ..changed })), Undo::Refuse(_)));
        assert!(matches!(undo(None), Undo::Refuse(_)));
    }

    #[test]
    fn undo_deletes_a_policy_where_there_was_none() {
        let change = Change { from: state(None), to: state(DEFAULT) };
        let undo = |now: Option<Policy>| StrengthenPasswordPolicy::undo(&change, &state(now));
        assert!(matches!(undo(Some(DEFAULT)), Undo::To { to, .. } if to == state(None)));
        assert_eq!(undo(None), Undo::Nothing);
        assert!(matches!(undo(Some(Policy { symbols: true, ..DEFAULT })), Undo::Refuse(_)));
    }

    #[test]
    fn records_of_its_state_stay_readable() {
        let stored = r#"{"policy":{"minimum_length":6,"uppercase":false,"lowercase":false,"numbers":false,"symbols":false,"reuse_prevention":null,"max_age":null,"hard_expiry":false,"users_may_change":true}}"#;
        assert_eq!(serde_json::to_string(&state(WEAK)).unwrap(), stored);
        assert_eq!(serde_json::from_str::<State>(stored).unwrap(), state(WEAK));
        assert_eq!(serde_json::to_string(&state(None)).unwrap(), r#"{"policy":null}"#);
    }
}
