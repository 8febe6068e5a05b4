//! Turns on deletion protection for a user pool.

use serde_json::Value;

use super::pool::{self, Pool};
use crate::prelude::*;

pub(crate) struct ProtectPool;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Protection {
    active: bool,
    /// What an update of the pool might reset. Read, never altered.
    #[serde(default)]
    at_risk: Option<String>,
}

impl Remediator for ProtectPool {
    const SPEC: Spec = Spec {
        name: "cognito.protect_pool",
        version: 1,
        controls: &["Cognito.6"],
        risk: Risk::None,
        what: "Turns on deletion protection of a user pool. All of its other settings are sent back as they were read; \
               a pool with one that is not known to be taken back is refused.",
        who_notices: "Whoever wants to delete the pool, Terraform and CloudFormation included: it fails until the \
                      protection is turned off. Users and applications notice nothing.",
        way_back: "Turns the protection off again, and sends all other settings back as they are then.",
        reads: &[],
        writes: &[Action::new("cognito-idp:UpdateUserPool", On::Resource)],
        undo: &[],
        implied: &[pool::PASSES_ROLE],
    };
    type Resource = Pool;
    type Params = NoParams;
    type State = Protection;

    async fn observe(aws: &Aws, at: &Pool) -> Result<Protection> {
        let found = at.settings(aws).await?;
        let active = found.get("DeletionProtection").and_then(Value::as_str) == Some("ACTIVE");
        Ok(Protection { active, at_risk: pool::at_risk(&found) })
    }

    fn plan(now: &Protection, _: &Ask<'_, NoParams>) -> Plan<Protection> {
        match &now.at_risk {
            _ if now.active => Plan::Compliant,
            Some(what) => Plan::Refuse(pool::refusal(what)),
            None => Plan::change(Protection { active: true, at_risk: None }, Risk::None),
        }
    }

    async fn apply(aws: &Aws, at: &Pool, change: &Change<Protection>) -> Result<()> {
        let wanted = if change.to.active { "ACTIVE" } else { "INACTIVE" };
        at.change(aws, |settings| drop(settings.insert("DeletionProtection".to_owned(), wanted.into()))).await
    }

    fn undo(change: &Change<Protection>, now: &Protection) -> Undo<Protection> {
        match &now.at_risk {
            _ if !now.active || change.from.active => Undo::Nothing,
            Some(what) => Undo::Refuse(pool::refusal(what)),
            None => Undo::To { to: Protection { active: false, at_risk: None }, notes: Vec::new() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remediator::test::ask;

    #[test]
    fn protects_what_is_not_and_goes_back() {
        let state =
            |active, at_risk: Option<&str>| Protection { active, at_risk: at_risk.map(str::to_owned) };
        let plan = |now| ProtectPool::plan(&now, &ask("Cognito.6", &NoParams {}));
        assert_eq!(plan(state(true, None)), Plan::Compliant);
        assert_eq!(plan(state(true, Some("`New`"))), Plan::Compliant);
        assert_eq!(plan(state(false, None)), Plan::change(state(true, None), Risk::None));
        assert!(matches!(plan(state(false, Some("`New`"))), Plan::Refuse(why) if why.contains("`New`")));

        let change = Change { from: state(false, None), to: state(true, None) };
        let undo = |now| ProtectPool::undo(&change, &now);
        assert!(matches!(undo(state(true, None)), Undo::To { to, .. } if to == state(false, None)));
        assert_eq!(undo(state(false, None)), Undo::Nothing);
        assert!(matches!(undo(state(true, Some("`New`"))), Undo::Refuse(_)));
    }
}
