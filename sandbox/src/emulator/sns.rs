//! Where winterbaume's SNS is not Amazon's: topics have one account as their owner, whoever made them, an attribute
//! that was emptied is still there, and a policy can be emptied, which
//! [SNS refuses](https://docs.aws.amazon.com/sns/latest/api/API_SetTopicAttributes.html).

use bytes::Bytes;
use http::Response;
use winterbaume_core::DEFAULT_ACCOUNT_ID;

use super::others::Others;
use super::wire::{Refusal, Request, rewrite};

pub(super) async fn answer(others: &Others, request: &Request, operation: &str) -> Response<Bytes> {
    let field = |name| request.form.get(name).unwrap_or_default();
    if operation == "SetTopicAttributes"
        && field("AttributeName") == "Policy"
        && field("AttributeValue").is_empty()
    {
        let message = "Invalid parameter: Policy Error: null";
        return Refusal::new(400, "InvalidParameter", message).response("sns");
    }
    let mut response = others.pass(request).await;
    if operation == "GetTopicAttributes" {
        let owner = |account: &str| format!("<value>{account}</value>");
        rewrite(&mut response, |text| {
            let text = text.replace(&owner(DEFAULT_ACCOUNT_ID), &owner(request.account()));
            let entries = text.split_inclusive("</entry>");
            let kept = entries.map(|entry| match entry.split_once("<entry>") {
                Some((before, own)) if own.contains("<value></value>") => before,
                _ => entry,
            });
            kept.collect()
        });
    }
    response
}
