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
    /// A new resource of this ARN, while the named operation makes it: narrowed by
    /// [`ec2:CreateAction`](https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html),
    /// so that nothing that exists already can be tagged.
    Created(&'static str, &'static str),
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
                On::Arn(template) | On::Created(template, _) => key.fill(template),
                On::Region | On::Anything => "*".to_owned(),
            };
            let mut statement = json!({ "Effect": "Allow", "Action": names, "Resource": resource });
            // A role policy (region `*`) is for every Region that redress serves.
            if on == On::Region && key.region != "*" {
                statement["Condition"] = json!({ "StringEquals": { "aws:RequestedRegion": key.region } });
            }
            if let On::Created(_, by) = on {
                statement["Condition"] = json!({ "StringEquals": { "ec2:CreateAction": by } });
            }
            statement
        })
        .collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}

#[cfg(all(test, feature = "ec2"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn tags_are_for_what_is_being_made() {
        let remediator = crate::find("ec2.restrict_ingress").unwrap();
        let key = "aws/123456789012/eu-west-1/AwsEc2SecurityGroup/sg-0123456789abcdef0".parse().unwrap();
        let policy = policy(remediator, Access::Apply, &key);
        let statements = policy["Statement"].as_array().unwrap();
        let tags = statements.iter().find(|one| one["Action"] == json!(["ec2:CreateTags"])).unwrap();
        assert_eq!(tags["Resource"], "arn:aws:ec2:eu-west-1:123456789012:security-group-rule/*");
        assert_eq!(
            tags["Condition"],
            json!({ "StringEquals": { "ec2:CreateAction": "AuthorizeSecurityGroupIngress" } })
        );
    }

    #[test]
    fn session_policies_fit() {
        for remediator in crate::REGISTRY {
            let key = Key {
                partition: "aws-us-gov".to_owned(),
                account: "123456789012".to_owned(),
                region: "us-gov-west-1".to_owned(),
                kind: remediator.kind().asff.to_owned(),
                id: "x".repeat(remediator.kind().longest_id),
            };
            let text = policy(*remediator, Access::Undo, &key).to_string();
            assert!(text.len() <= 2_048, "{}: {} characters", remediator.spec().name, text.len());
        }
    }
}
