//! Policies that let somebody in, of whatever resource: those of queues and topics are told by the same measure.
//!
//! `RESOURCE` stands for the resource's ARN, `SERVICE` for the prefix of its actions, `ACCOUNT` for the account.

use super::Place;

/// One public statement between two that are none.
pub(super) const AMONG_OTHERS: &str = r#"{
  "Version" : "2012-10-17",
  "Id": "caf\u00e9",
  "Statement": [
    { "Sid": "Partner", "Effect": "Allow", "Principal": {"AWS": "210987654321"}, "Action": "SERVICE:*", "Resource": "RESOURCE" },
    { "Sid": "Everybody", "Effect": "Allow", "Principal": { "AWS": "*" }, "Action": [ "SERVICE:*" ], "Resource": "RESOURCE" },
    { "Sid": "Events", "Effect": "Allow", "Principal": "*", "Action": "SERVICE:*", "Resource": "RESOURCE",
      "Condition": { "ArnEquals": { "aws:SourceArn": "arn:aws:s3:::uploads" } } }
  ]
}"#;

/// Nothing else.
pub(super) const ALONE: &str = r#"{"Version":"2012-10-17","Statement":
{ "Effect":"Allow","Principal":"*","Action":"SERVICE:*","Resource":"RESOURCE" } }"#;

/// Everybody, under a condition that fixes nobody.
pub(super) const CONDITIONAL: &str = r#"{"Version":"2012-10-17","Statement":[
{"Sid":"Tls","Effect":"Allow","Principal":"*","Action":"SERVICE:*","Resource":"RESOURCE","Condition":{"Bool":{"aws:SecureTransport":"true"}}},
{"Effect":"Deny","Principal":"*","Action":"SERVICE:*","Resource":"RESOURCE","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}"#;

/// Everybody, and somebody besides.
pub(super) const BESIDES: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"Mixed","Effect":"Allow",
"Principal":{"AWS":["*","210987654321"]},"Action":"SERVICE:*","Resource":"RESOURCE"}]}"#;

/// Nobody but who is fixed.
pub(super) const FIXED: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",
"Action":"SERVICE:*","Resource":"RESOURCE","Condition":{"StringEquals":{"aws:SourceAccount":"ACCOUNT"}}}]}"#;

/// A policy of the resource of this place.
pub(super) fn policy(at: &Place, service: &str, action: &str, text: &str) -> String {
    let text = text.replace("RESOURCE", &at.arn(service, &at.name)).replace("ACCOUNT", &at.account);
    text.replace("SERVICE:*", &format!("{service}:{action}"))
}
