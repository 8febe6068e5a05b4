//! Schedules a secret for deletion that nobody has used for long.

use jiff::{SignedDuration, Timestamp};

use super::secret::Secret;
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct DeleteUnusedSecret;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// For how many days nobody has used the secret, at least, where that is longer than the control's own number.
    #[schemars(range(min = 1, max = 3650))]
    unused_days: Option<u16>,
    /// For how many days the deletion can be taken back: 7 to 30.
    #[schemars(range(min = 7, max = 30))]
    recovery_days: u8,
}

impl Default for Params {
    fn default() -> Self {
        Self { unused_days: None, recovery_days: 30 }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Whether it is scheduled for deletion.
    deleted: bool,
    /// For how many days that can be taken back. Asked for on the way to this state, and never seen.
    #[serde(default)]
    recovery_days: Option<u8>,
    /// The day on which its value was last read, if it ever was. Read, never altered; as is all that follows.
    #[serde(default)]
    last_used: Option<Timestamp>,
    #[serde(default)]
    created: Option<Timestamp>,
    #[serde(default)]
    rotates: bool,
    /// The Regions of its replicas.
    #[serde(default)]
    replicas: Vec<String>,
    /// The primary secret's Region, where this is a replica.
    #[serde(default)]
    replica_of: Option<String>,
    /// The service that manages it.
    #[serde(default)]
    owner: Option<String>,
}

impl Remediator for DeleteUnusedSecret {
    const SPEC: Spec = Spec {
        name: "secretsmanager.delete_unused_secret",
        version: 1,
        controls: &["SecretsManager.3"],
        risk: Risk::Loss,
        what: "Schedules a secret for deletion whose value nobody has read for longer than the control allows, or ever \
               since it was made. Secrets Manager deletes it at the end of the recovery window, which is 30 days \
               unless the rule says less, and never at once. A secret that rotates, has replicas, is a replica or \
               belongs to another service is refused.",
        who_notices: "Whoever reads the secret: from then on that fails, also within the recovery window. What is read \
                      once a year, or only in an emergency, looks unused.",
        way_back: "Takes the deletion back within the recovery window: the secret is as it was, with all of its \
                   versions. Afterwards it is gone for good.",
        reads: &[],
        writes: &[Action::new("secretsmanager:DeleteSecret", On::Resource)],
        undo: &[Action::new("secretsmanager:RestoreSecret", On::Resource)],
        implied: &[],
    };
    type Resource = Secret;
    type Params = Params;
    type State = State;

    async fn observe(aws: &Aws, at: &Secret) -> Result<State> {
        let found = at.describe(aws).await?;
        let time = |time: Option<aws_sdk_secretsmanager::primitives::DateTime>| {
            let read = time.map(|time| Timestamp::from_second(time.secs())).transpose();
            read.map_err(|error| {
                Error::new(ErrorKind::Rejected, format!("Secrets Manager gives a date that is none: {error}"))
            })
        };
        let mut replicas: Vec<String> =
            found.replication_status.unwrap_or_default().into_iter().filter_map(|one| one.region).collect();
        replicas.sort_unstable();
        Ok(State {
            deleted: found.deleted_date.is_some(),
            recovery_days: None,
            last_used: time(found.last_accessed_date)?,
            created: time(found.created_date)?,
            rotates: found.rotation_enabled == Some(true),
            replicas,
            replica_of: found.primary_region.filter(|region| *region != at.region),
            owner: found.owning_service,
        })
    }

    fn plan(now: &State, ask: &Ask<'_, Params>) -> Plan<State> {
        if now.deleted {
            return Plan::Compliant;
        }
        let days = match days(ask) {
            Ok(days) => days,
            Err(why) => return Plan::Refuse(why),
        };
        let Some(since) = now.last_used.max(now.created) else {
            return Plan::Refuse("it is not known when the secret was made or last used".to_owned());
        };
        // AWS gives the day of the last use alone, as its first second:
        // https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DescribeSecret.html
        let unused_for = |days: u16| {
            since
                .checked_add(SignedDuration::from_hours(24 * (i64::from(days) + 1)))
                .is_ok_and(|until| until <= ask.at)
        };
        let (used, day) = match now.last_used {
            Some(_) => ("last used", since.strftime("%Y-%m-%d")),
            None => ("made and never used", since.strftime("%Y-%m-%d")),
        };
        if !unused_for(days.control) {
            return Plan::Compliant;
        }
        if !unused_for(days.rule) {
            return Plan::Refuse(format!(
                "{used} on {day}, which is less than the rule's {} days ago",
                days.rule
            ));
        }
        if let Some(why) = now.refusal() {
            return Plan::Refuse(why);
        }
        let window = ask.params.recovery_days;
        if !(7..=30).contains(&window) {
            return Plan::Refuse(format!("`recovery_days` is {window}, and Secrets Manager takes 7 to 30"));
        }
        let notes = vec![
            format!("{used} on {day}"),
            format!("it can't be read from now on, and can be restored for {window} days"),
        ];
        let to = State { deleted: true, recovery_days: Some(window), ..now.clone() };
        Plan::Change(Proposal { to, risk: Risk::Loss, notes })
    }

    async fn apply(aws: &Aws, at: &Secret, change: &Change<State>) -> Result<()> {
        if !change.to.deleted {
            aws.secretsmanager().restore_secret().secret_id(&at.arn).send().await?;
            return Ok(());
        }
        let window = i64::from(change.to.recovery_days.unwrap_or(30));
        let request = aws.secretsmanager().delete_secret().secret_id(&at.arn);
        request.recovery_window_in_days(window).send().await?;
        Ok(())
    }

    fn undo(change: &Change<State>, now: &State) -> Undo<State> {
        if !now.deleted || change.from.deleted {
            return Undo::Nothing;
        }
        Undo::To { to: State { deleted: false, recovery_days: None, ..now.clone() }, notes: Vec::new() }
    }

    fn wants_control_params(_: &str, _: &Params) -> bool {
        true
    }
}

impl State {
    /// Why a secret is not ours to delete, however unused.
    fn refusal(&self) -> Option<String> {
        if let Some(owner) = &self.owner {
            return Some(format!(
                "the secret belongs to `{}`, which deletes it with its own resource",
                shown(owner)
            ));
        }
        if let Some(primary) = &self.replica_of {
            return Some(format!(
                "the secret is a replica of one in `{}`: that is the one to delete",
                shown(primary)
            ));
        }
        if !self.replicas.is_empty() {
            let regions = shown(&self.replicas.join(", "));
            return Some(format!("the secret has replicas in {regions}: remove these first"));
        }
        self.rotates.then(|| {
            "the secret rotates, so something keeps it up to date: turn rotation off first".to_owned()
        })
    }
}

/// For how long the secret is to be unused.
struct Days {
    control: u16,
    rule: u16,
}

/// What is deleted on account of a guess can't be had back: without either number there is no plan.
fn days(ask: &Ask<'_, Params>) -> Result<Days, String> {
    const NAME: &str = "unusedForDays";
    let rule = ask.params.unused_days;
    let control = ask.parameter::<u16>(NAME)?;
    if let Some(days) = control.filter(|days| !(1..=365).contains(days)) {
        return Err(format!("the control's parameter `{NAME}` is `{days}`, not 1 to 365"));
    }
    match (control, rule) {
        (_, Some(0)) => Err("`unused_days` is 0: at least one day".to_owned()),
        (Some(control), rule) => Ok(Days { control, rule: control.max(rule.unwrap_or_default()) }),
        (None, Some(rule)) => Ok(Days { control: rule, rule }),
        (None, None) => Err(format!(
            "how long a secret may be unused is known neither from the finding nor from Security Hub (`{NAME}`); the \
             rule can say `unused_days`"
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::BTreeMap;

    use super::*;
    use crate::remediator::test::ask;

    /// At the start of 2026, as [`ask`] has it.
    fn ago(days: i64) -> Option<Timestamp> {
        let none = NoParams {};
        ask("", &none).at.checked_sub(SignedDuration::from_hours(24 * days)).ok()
    }

    fn state() -> State {
        State {
            deleted: false,
            recovery_days: None,
            last_used: ago(200),
            created: ago(900),
            rotates: false,
            replicas: Vec::new(),
            replica_of: None,
            owner: None,
        }
    }

    fn plan(now: &State, params: &Params, control: Option<&str>) -> Plan<State> {
        let known: BTreeMap<_, _> =
            control.map(|days| ("unusedForDays".to_owned(), vec![days.to_owned()])).into_iter().collect();
        DeleteUnusedSecret::plan(
            now,
            &Ask { control_params: Some(&known), ..ask("SecretsManager.3", params) },
        )
    }

    fn is_refused(plan: &Plan<State>, why: &str) -> bool {
        matches!(plan, Plan::Refuse(said) if said.contains(why))
    }

    #[test]
    fn only_what_is_unused_for_longer_than_both_say_is_deleted() {
        let params = Params::default();
        let Plan::Change(change) = plan(&state(), &params, Some("90")) else { unreachable!("no change") };
        assert_eq!(change.to, State { deleted: true, recovery_days: Some(30), ..state() });
        assert_eq!(change.risk, Risk::Loss);
        for (last_used, created, control, expected) in [
            (ago(90), ago(900), "90", false),
            (ago(91), ago(900), "90", true),
            (None, ago(90), "90", false),
            (None, ago(91), "90", true),
            // Younger than its last use: a clock of AWS's is wrong, and the younger time counts.
            (ago(200), ago(5), "90", false),
        ] {
            let now = State { last_used, created, ..state() };
            let planned = plan(&now, &params, Some(control));
            assert_eq!(planned != Plan::Compliant, expected, "{now:?}: {planned:?}");
        }
        let longer = Params { unused_days: Some(365), ..params.clone() };
        assert!(is_refused(&plan(&state(), &longer, Some("90")), "the rule's 365 days"));
        let shorter = Params { unused_days: Some(30), ..params };
        assert_eq!(plan(&State { last_used: ago(50), ..state() }, &shorter, Some("90")), Plan::Compliant);
    }

    #[test]
    fn nothing_is_deleted_on_account_of_a_guess() {
        let params = Params::default();
        assert!(is_refused(&plan(&state(), &params, None), "`unused_days`"));
        assert!(is_refused(&plan(&state(), &params, Some("")), "`unused_days`"));
        for odd in ["0", "366", "-1", "soon"] {
            let refused = is_refused(&plan(&state(), &params, Some(odd)), &format!("is `{odd}`"));
            assert!(refused, "{odd}");
        }
        let rule = Params { unused_days: Some(90), ..params.clone() };
        assert!(matches!(plan(&state(), &rule, None), Plan::Change(_)));
        let unknown = State { last_used: None, created: None, ..state() };
        assert!(is_refused(&plan(&unknown, &params, Some("90")), "not known"));
    }

    #[test]
    fn what_is_not_ours_to_delete_is_refused() {
        let params = Params::default();
        for (now, why) in [
            (State { rotates: true, ..state() }, "rotates"),
            (State { replicas: vec!["eu-central-1".to_owned()], ..state() }, "replicas in eu-central-1"),
            (State { replica_of: Some("us-east-1".to_owned()), ..state() }, "replica of one in `us-east-1`"),
            (State { owner: Some("rds".to_owned()), ..state() }, "belongs to `rds`"),
        ] {
            assert!(is_refused(&plan(&now, &params, Some("90")), why), "{now:?}");
        }
        for recovery_days in [0, 6, 31] {
            let params = Params { recovery_days, ..Params::default() };
            assert!(is_refused(&plan(&state(), &params, Some("90")), "7 to 30"));
        }
    }

    #[test]
    fn is_restored_while_it_is_there() {
        let deleted = State { deleted: true, ..state() };
        let change = Change { from: state(), to: State { recovery_days: Some(30), ..deleted.clone() } };
        assert!(matches!(DeleteUnusedSecret::undo(&change, &deleted), Undo::To { to, .. } if to == state()));
        assert_eq!(DeleteUnusedSecret::undo(&change, &state()), Undo::Nothing);
    }
}
