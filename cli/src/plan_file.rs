//! Plan files: what `plan --out` writes and `apply` takes.
//!
//! A plan file is untrusted input. It says what somebody has agreed to, and nothing else: findings in it are
//! decoded and authenticated anew, and a change is made only if it is planned anew and comes out the same.

use std::{io::Write as _, path::Path, time::Duration};

use jiff::{SignedDuration, Timestamp};
use redress_remediators::{Change, Key};
use redress_router::{
    event::{Decoded, decode_many, shown},
    finding::Finding,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    context::Context,
    exit::{Exit, Failure, Result},
    work::Item,
};

/// The one version that is written and read.
const SCHEMA: &str = "redress.plan-file/1";

/// How far clocks of two machines may be apart.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// A plan as a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanFile {
    schema: String,
    /// redress's own version.
    version: String,
    created: Timestamp,
    caller: CallerRef,
    region: String,
    rules_hash: String,
    items: Vec<PlanItem>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CallerRef {
    account: String,
    arn: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanItem {
    finding: Value,
    resource: Key,
    control: String,
    remediator: String,
    remediator_version: u32,
    change: Change<Value>,
}

/// One change of a plan file, its finding read anew.
pub(crate) struct Agreed {
    pub(crate) finding: Finding,
    pub(crate) resource: Key,
    pub(crate) change: Change<Value>,
}

/// Writes the changes that are planned. Only its owner can read the file: states of resources are in it.
pub(crate) fn write(path: &Path, context: &Context, items: &[Item]) -> Result<()> {
    let items = items.iter().filter_map(|item| {
        let (finding, key, change) = item.planned()?;
        Some(PlanItem {
            finding: (*finding.json).clone(),
            resource: key.clone(),
            control: finding.control.as_str().to_owned(),
            remediator: item.entry.remediator.clone()?,
            remediator_version: item.entry.remediator_version?,
            change: change.clone(),
        })
    });
    let plan = PlanFile {
        schema: SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created: Timestamp::now(),
        caller: CallerRef { account: context.caller.account.clone(), arn: context.caller.arn.clone() },
        region: context.reach.region.clone(),
        rules_hash: context.engine.rules.hash.to_string(),
        items: items.collect(),
    };
    let text = serde_json::to_string_pretty(&plan).map_err(std::io::Error::other)?;
    private(path, &text).map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))
}

/// Writes a file that only its owner can read.
pub(crate) fn private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    if file.metadata()?.is_file() {
        // One that was there before has the permissions it had.
        #[cfg(unix)]
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        file.set_len(0)?;
    }
    writeln!(file, "{text}")
}

/// Whether the input is meant to be a plan file.
pub(crate) fn is_one(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Schema {
        schema: String,
    }
    serde_json::from_slice::<Schema>(bytes).is_ok_and(|file| file.schema.starts_with("redress."))
}

/// Reads a plan file and checks all that can be without AWS.
pub(crate) fn read(
    bytes: &[u8],
    context: &Context,
    max_age: Duration,
    now: Timestamp,
) -> Result<Vec<Agreed>> {
    let invalid = |what: String| Failure::input(format!("plan file: {what}"));
    let refused = |what: String| Failure::new(Exit::Refused, format!("plan file: {what}; plan again"));
    let plan: PlanFile = serde_json::from_slice(bytes).map_err(|error| invalid(shown(&error.to_string())))?;
    if plan.schema != SCHEMA {
        return Err(invalid(format!("schema `{}` is not `{SCHEMA}`", shown(&plan.schema))));
    }
    let age = now.duration_since(plan.created);
    let most = SignedDuration::try_from(max_age).unwrap_or(SignedDuration::MAX);
    if age < -SKEW {
        return Err(refused(format!("created {}, which is in the future", plan.created)));
    }
    if age > most {
        return Err(refused(format!("created {}, longer ago than --max-age", plan.created)));
    }
    if plan.caller.account != context.caller.account {
        return Err(refused(format!(
            "made in account {}, this is {}",
            shown(&plan.caller.account),
            context.caller.account
        )));
    }
    if plan.rules_hash != *context.engine.rules.hash {
        return Err(refused(format!(
            "made by rules {}, these are {}",
            shown(&plan.rules_hash),
            context.engine.rules.hash
        )));
    }
    let mut agreed = Vec::new();
    for (number, item) in plan.items.into_iter().enumerate() {
        let at = |what: String| invalid(format!("items[{number}]: {what}"));
        let stale = |what: String| refused(format!("items[{number}]: {what}"));
        let name = shown(&item.remediator);
        match redress_remediators::find(&item.remediator).map(|known| known.spec().version) {
            Some(version) if version == item.remediator_version => {}
            Some(version) => {
                let was = item.remediator_version;
                return Err(stale(format!("`{name}` was version {was} and is version {version}")));
            }
            None => return Err(at(format!("there is no remediator `{name}`"))),
        }
        let bytes = serde_json::to_vec(&item.finding).map_err(|error| at(error.to_string()))?;
        let mut decoded = decode_many(&bytes).map_err(|error| at(error.to_string()))?;
        let finding = match (decoded.pop(), decoded.is_empty()) {
            (Some(Decoded::Finding(finding)), true) => *finding,
            (Some(Decoded::Invalid(why)), true) => return Err(at(format!("finding: {why}"))),
            (Some(Decoded::Ignored(why)), true) => return Err(at(format!("finding: {why}"))),
            _ => return Err(at("not one finding".to_owned())),
        };
        if finding.control.as_str() != item.control {
            let (is, says) = (finding.control.as_str(), shown(&item.control));
            return Err(at(format!("its finding is of {is}, the item says `{says}`")));
        }
        let rule = context.engine.rules.route(&finding).map(|rule| rule.remediator.spec().name);
        if rule != Some(item.remediator.as_str()) {
            return Err(at(format!("the rules do not fix this finding by `{name}`")));
        }
        agreed.push(Agreed { finding, resource: item.resource, change: item.change });
    }
    Ok(agreed)
}
