//! IAM actions, as a remediator declares them, and the policies made from them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{Access, Erased, Key};

/// One IAM action that a remediator needs, and the SDK calls that AWS checks it for.
///
/// Names and resource forms are those of AWS's
/// [Service Authorization Reference](https://docs.aws.amazon.com/service-authorization/latest/reference/).
#[derive(Clone, Copy, Debug)]
pub struct Action {
    /// The action, such as `s3:GetLifecycleConfiguration`.
    pub iam: &'static str,
    /// The API operations behind it; empty where the one operation has the action's own name.
    pub calls: &'static [&'static str],
    /// What it is allowed on.
    pub on: On,
}

/// The resource form of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// The remediator's own resource.
    Resource,
    /// Another ARN; `{partition}`, `{region}`, `{account}` and `{id}` are filled in.
    Arn(&'static str),
    /// No ARN exists for it: `*`, narrowed to the Region by `aws:RequestedRegion`.
    Region,
    /// No ARN exists for it and no Region either (a global service).
    Anything,
}

/// An action that AWS checks without a call of ours, such as `iam:PassRole`.
#[derive(Clone, Copy, Debug)]
pub struct Implied {
    /// The action and what it is allowed on.
    pub action: Action,
    /// Why it is needed, with a link to the page that says so.
    pub why: &'static str,
}

impl Action {
    /// An action whose API operation has the same name.
    pub const fn new(iam: &'static str, on: On) -> Self {
        Self { iam, calls: &[], on }
    }

    /// An action that is checked for operations of other names.
    #[must_use]
    pub const fn called(self, calls: &'static [&'static str]) -> Self {
        Self { calls, ..self }
    }

    /// Whether AWS checks this action for the operation `name` of the service with this IAM prefix.
    pub fn covers(&self, prefix: &str, name: &str) -> bool {
        let Some((own_prefix, own_name)) = self.iam.split_once(':') else { return false };
        own_prefix == prefix
            && if self.calls.is_empty() { own_name == name } else { self.calls.contains(&name) }
    }
}

/// The IAM policy of one run: what `access` opens, on the one resource `key`.
///
/// With the `*` key of [`Key::any`] it is the remediator's share of a role policy. As a session policy it
/// must stay under [2,048 characters](https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html);
/// a test holds every remediator to that with the longest legal names.
pub fn policy(remediator: &dyn Erased, access: Access, key: &Key) -> Value {
    let mut grouped: BTreeMap<On, Vec<&str>> = BTreeMap::new();
    for action in remediator.actions(access) {
        let names = grouped.entry(action.on).or_default();
        if !names.contains(&action.iam) {
            names.push(action.iam);
        }
    }
    let statements: Vec<Value> = grouped
        .into_iter()
        .map(|(on, mut names)| {
            names.sort_unstable();
            let resource = match on {
                On::Resource => key.fill(remediator.kind().arn),
                On::Arn(template) => key.fill(template),
                On::Region | On::Anything => "*".to_owned(),
            };
            let mut statement = json!({ "Effect": "Allow", "Action": names, "Resource": resource });
            // A role policy (region `*`) is for every Region that redress serves.
            if on == On::Region && key.region != "*" {
                statement["Condition"] = json!({ "StringEquals": { "aws:RequestedRegion": key.region } });
            }
            statement
        })
        .collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}
