//! ACLs, object ownership and access logging of buckets.
//!
//! Winterbaume forgets ACLs and logging, answers `BucketOwnerEnforced` where ownership was deleted, and lets
//! ACLs be set beside it. AWS gives every new bucket that setting, answers `OwnershipControlsNotFoundError`
//! where there is none, and refuses
//! [ACLs beside it and it beside ACLs](https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-ownership-error-responses.html).

use bytes::Bytes;
use http::Response;

use crate::emulator::wire::{Refusal, Request, element, respond};

const ENFORCED: &str = "BucketOwnerEnforced";
const SPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// What a bucket says of who may do what, and who is told.
#[derive(Clone, Debug, Default)]
pub(super) struct Access {
    ownership: Option<String>,
    /// The grants of the ACL; `None` where it is private.
    grants: Option<String>,
    /// What stands in `BucketLoggingStatus`.
    logging: String,
}

impl Access {
    pub(super) fn new(request: &Request) -> Self {
        let ownership = request.header("x-amz-object-ownership").unwrap_or(ENFORCED);
        Self { ownership: Some(ownership.to_owned()), ..Self::default() }
    }
}

/// The account's id in ACLs.
fn canonical(request: &Request) -> String {
    format!("{:0>64}", request.account())
}

fn grant(kind: &str, grantee: &str, permission: &str) -> String {
    let name = if kind == "Group" { "URI" } else { "ID" };
    format!(
        "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\">\
         <{name}>{grantee}</{name}></Grantee><Permission>{permission}</Permission></Grant>"
    )
}

/// The grants that a request asks for; `None` for those of a private bucket.
fn asked(request: &Request) -> Option<String> {
    let own = grant("CanonicalUser", &canonical(request), "FULL_CONTROL");
    let group = |name: &str, permission: &str| {
        grant("Group", &format!("http://acs.amazonaws.com/groups/{name}"), permission)
    };
    match request.header("x-amz-acl") {
        Some("public-read") => Some(own + &group("global/AllUsers", "READ")),
        Some("log-delivery-write") => {
            Some(own + &group("s3/LogDelivery", "WRITE") + &group("s3/LogDelivery", "READ_ACP"))
        }
        Some(_) => None,
        None => element(&String::from_utf8_lossy(&request.body), "AccessControlList").map(str::to_owned),
    }
}

fn lets_others_in(grants: &str, own: &str) -> bool {
    grants.contains("<URI>")
        || grants.split("<ID>").skip(1).any(|rest| rest.split("</ID>").next() != Some(own))
}

/// The answer, if the operation is one of these.
pub(super) fn answer(
    access: &mut Access,
    request: &Request,
    operation: &str,
) -> Option<Result<Response<Bytes>, Refusal>> {
    let own = canonical(request);
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let done = |status| Ok(respond(status, "application/xml", ""));
    let document = |name: &str, inner: &str| {
        Ok(respond(200, "application/xml", format!("<{name} xmlns=\"{SPACE}\">{inner}</{name}>")))
    };
    Some(match operation {
        "GetBucketAcl" => {
            let private = grant("CanonicalUser", &own, "FULL_CONTROL");
            let grants = access.grants.as_ref().unwrap_or(&private);
            let owner = format!("<Owner><ID>{own}</ID></Owner>");
            document(
                "AccessControlPolicy",
                &format!("{owner}<AccessControlList>{grants}</AccessControlList>"),
            )
        }
        "PutBucketAcl" => {
            let grants = asked(request).filter(|grants| lets_others_in(grants, &own));
            if grants.is_some() && access.ownership.as_deref() == Some(ENFORCED) {
                let message = "The bucket does not allow ACLs";
                return Some(Err(Refusal::new(400, "AccessControlListNotSupported", message)));
            }
            access.grants = grants;
            done(200)
        }
        "GetBucketOwnershipControls" => match &access.ownership {
            None => {
                let message = "The bucket ownership controls were not found";
                Err(Refusal::new(404, "OwnershipControlsNotFoundError", message))
            }
            Some(setting) => {
                let rule = format!("<Rule><ObjectOwnership>{setting}</ObjectOwnership></Rule>");
                document("OwnershipControls", &rule)
            }
        },
        "PutBucketOwnershipControls" => {
            let setting = element(&body, "ObjectOwnership").unwrap_or_default().to_owned();
            if !["BucketOwnerPreferred", "ObjectWriter", ENFORCED].contains(&setting.as_str()) {
                let message = "The XML you provided was not well-formed or did not validate against our \
                               published schema";
                return Some(Err(Refusal::new(400, "MalformedXML", message)));
            }
            if setting == ENFORCED && access.grants.is_some() {
                let message =
                    "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting";
                return Some(Err(Refusal::new(400, "InvalidBucketAclWithObjectOwnership", message)));
            }
            access.ownership = Some(setting);
            done(200)
        }
        "DeleteBucketOwnershipControls" => {
            access.ownership = None;
            done(204)
        }
        "GetBucketLogging" => document("BucketLoggingStatus", &access.logging),
        "PutBucketLogging" => {
            access.logging = element(&body, "LoggingEnabled")
                .map(|inner| format!("<LoggingEnabled>{inner}</LoggingEnabled>"))
                .unwrap_or_default();
            done(200)
        }
        _ => return None,
    })
}
