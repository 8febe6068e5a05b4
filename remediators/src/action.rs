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
    /// The API operations behind it; empty where the one operation has the action's own name. Those of
    /// another service than the action's prefix says are written `service:Operation`.
    pub calls: &'static [&'static str],
    /// What it is allowed on.
    pub on: On,
}

/// The resource form of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// The remediator's own resource.
    Resource,
    /// Another ARN, completed by [`Key::fill`].
    Arn(&'static str),
    /// No ARN exists for it: `*`, narrowed to the Region by `aws:RequestedRegion`.
    Region,
    /// No ARN exists for it and no Region either (a global service).
    Anything,
    /// A new resource of this ARN, while the named operation makes it: narrowed by
    /// [`ec2:CreateAction`](https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html),
    /// so that nothing that exists already can be tagged.
    Created(&'static str, &'static str),
    /// A role of this ARN, while it is handed to the named service: narrowed by
    /// [`iam:PassedToService`](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html).
    Passed(&'static str, &'static str),
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

    /// An action that is checked for operations of other names, or of another service:
    /// `s3control:GetPublicAccessBlock`.
    #[must_use]
    pub const fn called(self, calls: &'static [&'static str]) -> Self {
        Self { calls, ..self }
    }

    /// The API operations behind it, each with its service.
    pub fn operations(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let (own, name) = self.iam.split_once(':').unwrap_or(("", self.iam));
        let same_name = self.calls.is_empty().then_some((own, name));
        same_name
            .into_iter()
            .chain(self.calls.iter().map(move |call| call.split_once(':').unwrap_or((own, call))))
    }

    /// Whether AWS checks this action for the operation `name` of `service`: as in [`Call::service`].
    ///
    /// [`Call::service`]: crate::Call::service
    pub fn covers(&self, service: &str, name: &str) -> bool {
        self.operations().any(|operation| operation == (service, name))
    }
}

/// The IAM policy of one run: what `access` opens, on the one resource `key`.
///
/// With the `*` key of [`Key::any`] it is the remediator's share of a role policy. As a session policy it
/// must stay under [2,048 characters](https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html);
/// a test holds every remediator to that with the longest legal names.
pub fn policy(remediator: &dyn Erased, access: Access, key: &Key) -> Value {
    narrowed_policy(remediator, access, key, &[])
}

/// ARNs of declared actions, each with what a rule's parameters leave of it: see [`Remediator::narrowed`].
///
/// [`Remediator::narrowed`]: crate::Remediator::narrowed
pub type Narrowed = Vec<(&'static str, String)>;

/// The same, narrowed to what the run's rule names.
pub fn narrowed_policy(
    remediator: &dyn Erased,
    access: Access,
    key: &Key,
    narrowed: &[(&'static str, String)],
) -> Value {
    let to = |template: &'static str| {
        narrowed.iter().find(|(declared, _)| *declared == template).map_or(template, |(_, to)| to.as_str())
    };
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
                On::Arn(template) | On::Created(template, _) | On::Passed(template, _) => {
                    key.fill(to(template))
                }
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
            if let On::Passed(_, to) = on {
                statement["Condition"] = json!({ "StringEquals": { "iam:PassedToService": to } });
            }
            statement
        })
        .collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn an_action_covers_its_own_operations_and_no_others() {
        let plain = Action::new("s3:GetBucketVersioning", On::Resource);
        assert!(plain.covers("s3", "GetBucketVersioning"));
        assert!(!plain.covers("s3control", "GetBucketVersioning"));
        assert!(!plain.covers("s3", "PutBucketVersioning"));

        let renamed = Action::new("s3:GetLifecycleConfiguration", On::Resource)
            .called(&["GetBucketLifecycleConfiguration"]);
        assert!(renamed.covers("s3", "GetBucketLifecycleConfiguration"));
        assert!(!renamed.covers("s3", "GetLifecycleConfiguration"));
    }

    /// S3 and S3 Control have operations of the same name, of a bucket and of an account.
    #[test]
    fn an_operation_of_another_service_is_told_apart_from_its_namesake() {
        let bucket =
            Action::new("s3:GetBucketPublicAccessBlock", On::Resource).called(&["GetPublicAccessBlock"]);
        assert!(bucket.covers("s3", "GetPublicAccessBlock"));
        assert!(!bucket.covers("s3control", "GetPublicAccessBlock"));

        let account = Action::new("s3:GetAccountPublicAccessBlock", On::Anything)
            .called(&["s3control:GetPublicAccessBlock"]);
        assert!(account.covers("s3control", "GetPublicAccessBlock"));
        assert!(!account.covers("s3", "GetPublicAccessBlock"));
    }

    #[cfg(feature = "ec2")]
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

    #[cfg(feature = "rds")]
    #[test]
    fn a_role_is_given_to_the_one_service_only() {
        let remediator = crate::find("rds.enable_monitoring").unwrap();
        let key = "aws/123456789012/eu-west-1/AwsRdsDbInstance/orders".parse().unwrap();
        let passes = |access| {
            let policy = policy(remediator, access, &key);
            let statements = policy["Statement"].as_array().cloned().unwrap();
            statements.into_iter().find(|one| one["Action"] == json!(["iam:PassRole"]))
        };
        assert_eq!(passes(Access::Plan), None);
        let passed = passes(Access::Apply).unwrap();
        assert_eq!(passed["Resource"], "arn:aws:iam::123456789012:role/*");
        assert_eq!(
            passed["Condition"],
            json!({ "StringEquals": { "iam:PassedToService": "monitoring.rds.amazonaws.com" } })
        );
    }
}
