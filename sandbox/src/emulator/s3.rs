//! Where winterbaume's S3 is not Amazon's.
//!
//! Its buckets keep every configuration as it was sent, which is what matters most. This layer adds what
//! it does not know: who owns a bucket and where it is (winterbaume has one namespace a Region, and answers
//! 404 from any other), `ExpectedBucketOwner`, the `x-amz-transition-default-minimum-object-size` header,
//! ids of lifecycle rules, MFA delete, Object Lock's hold on versioning, the settings that every new bucket
//! has had since 2023, and the refusals of what S3 does not accept. ACLs, object ownership and logging are in
//! [`access`].

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

use bytes::Bytes;
use http::{Method, Response};
use serde_json::Value;

use super::wire::{Refusal, Request, Xml, element, percent_decode, respond, rewrite};
use super::{Backends, locked};

mod access;

const MINIMUM_SIZE: &str = "x-amz-transition-default-minimum-object-size";
const BLOCK_ALL: &str = "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls>\
    <IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy>\
    <RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>";

/// What winterbaume does not keep.
#[derive(Default)]
pub(super) struct S3 {
    /// By name, of all accounts together, as on AWS.
    buckets: Mutex<HashMap<String, Bucket>>,
    /// The block of public access of each account, as the answer's text.
    blocks: Mutex<HashMap<String, String>>,
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    account: String,
    region: String,
    minimum_size: Option<String>,
    mfa_delete: Option<String>,
    object_lock: bool,
    access: access::Access,
}

/// The operation that a request means, by method and query string.
pub(super) fn operation(request: &Request) -> String {
    let (bucket, key) = target(request);
    let verb = match request.method {
        Method::PUT => "Put",
        Method::DELETE => "Delete",
        Method::HEAD => "Head",
        Method::POST => "Post",
        _ => "Get",
    };
    let known: &[(&str, &str)] = match (&bucket, &key) {
        (None, _) => return "ListBuckets".to_owned(),
        (Some(_), Some(_)) => &[("tagging", "ObjectTagging"), ("acl", "ObjectAcl")],
        (Some(_), None) => &[
            ("lifecycle", "BucketLifecycleConfiguration"),
            ("versioning", "BucketVersioning"),
            ("publicAccessBlock", "PublicAccessBlock"),
            ("policyStatus", "BucketPolicyStatus"),
            ("policy", "BucketPolicy"),
            ("website", "BucketWebsite"),
            ("tagging", "BucketTagging"),
            ("location", "BucketLocation"),
            ("acl", "BucketAcl"),
            ("cors", "BucketCors"),
            ("encryption", "BucketEncryption"),
            ("logging", "BucketLogging"),
            ("replication", "BucketReplication"),
            ("notification", "BucketNotificationConfiguration"),
            ("ownershipControls", "BucketOwnershipControls"),
            ("object-lock", "ObjectLockConfiguration"),
        ],
    };
    if let Some((_, name)) = known.iter().find(|(parameter, _)| request.asks(parameter)) {
        // The one whose deletion is named otherwise.
        let name = if verb == "Delete" { name.trim_end_matches("LifecycleConfiguration") } else { name };
        return match name {
            "Bucket" => "DeleteBucketLifecycle".to_owned(),
            name => format!("{verb}{name}"),
        };
    }
    match (verb, key.is_some()) {
        ("Put", false) => "CreateBucket".to_owned(),
        ("Get", false) if request.asks("versions") => "ListObjectVersions".to_owned(),
        ("Get", false) => "ListObjectsV2".to_owned(),
        ("Post", false) => "DeleteObjects".to_owned(),
        (verb, false) => format!("{verb}Bucket"),
        (verb, true) => format!("{verb}Object"),
    }
}

/// The bucket and key of a request, in either style of address.
fn target(request: &Request) -> (Option<String>, Option<String>) {
    let path = request.path.trim_start_matches('/');
    let some = |text: &str| (!text.is_empty()).then(|| percent_decode(text));
    if let Some((bucket, _)) = request.host.rsplit_once(".s3.") {
        return (some(bucket), some(path));
    }
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    (some(bucket), some(key))
}

impl S3 {
    /// Answers a request to S3.
    pub(super) async fn answer(
        &self,
        backends: &Backends,
        mut request: Request,
        operation: &str,
    ) -> Response<Bytes> {
        let (bucket, key) = target(&request);
        let key = key.map(|key| key.replace('%', "%25").replace('?', "%3F")).unwrap_or_default();
        request.path = bucket.as_ref().map_or("/".to_owned(), |bucket| format!("/{bucket}/{key}"));
        let result = match bucket {
            None => Ok(pass(backends, &request, &request.region).await),
            Some(name) => self.bucket(backends, &name, &request, operation).await,
        };
        let mut response = result.unwrap_or_else(|refusal| refusal.response("s3"));
        if request.method == Method::HEAD && !response.status().is_success() {
            response.body_mut().clear();
        }
        response
    }

    async fn bucket(
        &self,
        backends: &Backends,
        name: &str,
        request: &Request,
        operation: &str,
    ) -> Result<Response<Bytes>, Refusal> {
        if operation == "CreateBucket" {
            return self.create(backends, name, request).await;
        }
        let Some(bucket) = locked(&self.buckets).get(name).cloned() else {
            return Err(Refusal::new(404, "NoSuchBucket", "The specified bucket does not exist"));
        };
        let expected = request.header("x-amz-expected-bucket-owner");
        if bucket.account != request.account() || expected.is_some_and(|owner| owner != bucket.account) {
            return Err(denied());
        }
        if bucket.region != request.region && operation != "GetBucketLocation" {
            let message = "The bucket you are attempting to access must be addressed using the specified \
                           endpoint. Please send all future requests to this endpoint.";
            let mut response = Refusal::new(301, "PermanentRedirect", message).response("s3");
            if let Ok(region) = bucket.region.parse() {
                response.headers_mut().insert("x-amz-bucket-region", region);
            }
            return Ok(response);
        }
        if operation == "GetBucketLocation" {
            // Winterbaume puts one such element into another, which the SDK refuses. The oldest Region's
            // name is empty: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html
            let region = if bucket.region == "us-east-1" { "" } else { &bucket.region };
            let space = "http://s3.amazonaws.com/doc/2006-03-01/";
            let body = format!("<LocationConstraint xmlns=\"{space}\">{region}</LocationConstraint>");
            return Ok(respond(200, "application/xml", body));
        }
        if operation == "PutBucketLogging" {
            self.target(&bucket, &String::from_utf8_lossy(&request.body))?;
        }
        if let Some(bucket) = locked(&self.buckets).get_mut(name)
            && let Some(response) = access::answer(&mut bucket.access, request, operation)
        {
            return response;
        }
        let mut sent = request.clone();
        match operation {
            "PutBucketVersioning" => self.versioning(name, &bucket, request)?,
            "PutBucketLifecycleConfiguration" => {
                sent.body = lifecycle(&String::from_utf8_lossy(&request.body))?.into();
                let size = request.header(MINIMUM_SIZE).unwrap_or("all_storage_classes_128K").to_owned();
                self.change(name, |bucket| bucket.minimum_size = Some(size));
            }
            "PutBucketPolicy" => self.policy(backends, &bucket, request).await?,
            "PutObjectLockConfiguration" => self.change(name, |bucket| bucket.object_lock = true),
            _ => {}
        }
        let mut response = pass(backends, &sent, &bucket.region).await;
        if response.status().is_success() {
            self.after(name, operation, &mut response);
        }
        Ok(response)
    }

    /// What a successful answer lacks.
    fn after(&self, name: &str, operation: &str, response: &mut Response<Bytes>) {
        let bucket = locked(&self.buckets).get(name).cloned().unwrap_or_default();
        match operation {
            "DeleteBucket" => {
                locked(&self.buckets).remove(name);
            }
            "HeadBucket" => {
                if let Ok(region) = bucket.region.parse() {
                    response.headers_mut().insert("x-amz-bucket-region", region);
                }
            }
            "GetBucketLifecycleConfiguration" | "PutBucketLifecycleConfiguration" => {
                if let Some(size) = bucket.minimum_size.and_then(|size| size.parse().ok()) {
                    response.headers_mut().insert(MINIMUM_SIZE, size);
                }
            }
            "GetBucketVersioning" => {
                if let Some(mfa) = bucket.mfa_delete {
                    let mfa = format!("<MfaDelete>{mfa}</MfaDelete></VersioningConfiguration>");
                    rewrite(response, |xml| xml.replace("</VersioningConfiguration>", &mfa));
                }
            }
            _ => {}
        }
    }

    async fn create(
        &self,
        backends: &Backends,
        name: &str,
        request: &Request,
    ) -> Result<Response<Bytes>, Refusal> {
        let body = String::from_utf8_lossy(&request.body);
        let constraint = element(&body, "LocationConstraint");
        if constraint.unwrap_or("us-east-1") != request.region {
            let constraint = constraint.unwrap_or("unspecified");
            let message = format!(
                "The {constraint} location constraint is incompatible for the region specific endpoint this \
                 request was sent to."
            );
            return Err(Refusal::new(400, "IllegalLocationConstraintException", message));
        }
        let object_lock = request.header("x-amz-bucket-object-lock-enabled") == Some("true");
        let bucket = Bucket {
            account: request.account().to_owned(),
            region: request.region.clone(),
            object_lock,
            access: access::Access::new(request),
            ..Bucket::default()
        };
        // Whether the name is free, and taking it, are one step.
        let taken = {
            let mut buckets = locked(&self.buckets);
            let taken = buckets.get(name).cloned();
            if taken.is_none() {
                buckets.insert(name.to_owned(), bucket);
            }
            taken
        };
        if let Some(taken) = taken {
            if taken.account != request.account() {
                let message = "The requested bucket name is not available. The bucket namespace is shared by \
                               all users of the system. Please select a different name and try again.";
                return Err(Refusal::new(409, "BucketAlreadyExists", message));
            }
            if taken.region != "us-east-1" || request.region != "us-east-1" {
                let message = "Your previous request to create the named bucket succeeded and you already \
                               own it.";
                return Err(Refusal::new(409, "BucketAlreadyOwnedByYou", message));
            }
            return Ok(Response::default());
        }
        let response = pass(backends, request, &request.region).await;
        if !response.status().is_success() {
            locked(&self.buckets).remove(name);
            return Ok(response);
        }
        // https://docs.aws.amazon.com/AmazonS3/latest/userguide/create-bucket-faq.html
        let mut first = vec![("publicAccessBlock", BLOCK_ALL)];
        if object_lock {
            let lock = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>\
                        </ObjectLockConfiguration>";
            let versioned = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
            first.extend([("object-lock", lock), ("versioning", versioned)]);
        }
        for (query, body) in first {
            let put = Request { query: query.to_owned(), body: body.into(), ..request.clone() };
            pass(backends, &put, &request.region).await;
        }
        Ok(response)
    }

    fn versioning(&self, name: &str, bucket: &Bucket, request: &Request) -> Result<(), Refusal> {
        let body = String::from_utf8_lossy(&request.body);
        let status = element(&body, "Status");
        if !matches!(status, Some("Enabled" | "Suspended")) {
            let message = "The Versioning element must be specified";
            return Err(Refusal::new(400, "IllegalVersioningConfigurationException", message));
        }
        if bucket.object_lock && status == Some("Suspended") {
            let message = "An Object Lock configuration is present on this bucket, so the versioning state \
                           cannot be changed.";
            return Err(Refusal::new(409, "InvalidBucketState", message));
        }
        let mfa = element(&body, "MfaDelete");
        let guarded = bucket.mfa_delete.as_deref() == Some("Enabled") || mfa.is_some();
        if guarded && request.header("x-amz-mfa").is_none() {
            let message = "Mfa Authentication must be used for this request";
            return Err(Refusal::new(403, "AccessDenied", message));
        }
        if let Some(mfa) = mfa {
            self.change(name, |bucket| bucket.mfa_delete = Some(mfa.to_owned()));
        }
        Ok(())
    }

    /// Refuses a bucket for logs that is another account's or in another Region:
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLogging.html>.
    fn target(&self, bucket: &Bucket, document: &str) -> Result<(), Refusal> {
        let Some(target) = element(document, "TargetBucket") else { return Ok(()) };
        let message = match locked(&self.buckets).get(target) {
            None => "The target bucket for logging does not exist",
            Some(target) if target.account != bucket.account => {
                "The owner for the bucket to be logged and the target bucket must be the same."
            }
            Some(target) if target.region != bucket.region => {
                "The target bucket for logging must be in the Region of the bucket to be logged."
            }
            Some(_) => return Ok(()),
        };
        Err(Refusal::new(400, "InvalidTargetBucketForLogging", message))
    }

    /// Refuses what is no policy, and a public one where public access is blocked. A statement counts as
    /// public when it allows every principal without a condition: S3's own notion is wider.
    async fn policy(&self, backends: &Backends, bucket: &Bucket, request: &Request) -> Result<(), Refusal> {
        if !is_public(&request.body)? {
            return Ok(());
        }
        let asked = Request {
            method: Method::GET,
            query: "publicAccessBlock".to_owned(),
            body: Bytes::new(),
            ..request.clone()
        };
        let of_bucket = pass(backends, &asked, &bucket.region).await;
        let of_bucket = String::from_utf8_lossy(of_bucket.body()).into_owned();
        let of_account = locked(&self.blocks).get(&bucket.account).cloned().unwrap_or_default();
        if [of_bucket, of_account].iter().any(|block| element(block, "BlockPublicPolicy") == Some("true")) {
            let message = format!(
                "User: {} is not authorized to perform: s3:PutBucketPolicy because public policies are \
                 prevented by the BlockPublicPolicy setting in S3 Block Public Access.",
                request.principal.arn
            );
            return Err(Refusal::new(403, "AccessDenied", message));
        }
        Ok(())
    }

    /// Answers a request to S3 Control: the account's block of public access. Our own, because winterbaume
    /// keeps it by Region, and puts its errors in a form that the SDK finds no code in.
    pub(super) fn control(&self, request: &Request, operation: &str) -> Response<Bytes> {
        if request.header("x-amz-account-id") != Some(request.account()) {
            return denied().response("s3control");
        }
        let mut blocks = locked(&self.blocks);
        match operation {
            "GetPublicAccessBlock" => {
                let Some(block) = blocks.get(request.account()) else {
                    let message = "The public access block configuration was not found";
                    let code = "NoSuchPublicAccessBlockConfiguration";
                    return Refusal::new(404, code, message).response("s3control");
                };
                respond(200, "application/xml", block.clone())
            }
            "PutPublicAccessBlock" => {
                let body = String::from_utf8_lossy(&request.body);
                let names =
                    ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];
                let flags = names
                    .iter()
                    .fold(Xml::default(), |xml, name| xml.text(name, element(&body, name) == Some("true")));
                let block = Xml::default().nested("PublicAccessBlockConfiguration", &flags).finish();
                blocks.insert(request.account().to_owned(), block);
                respond(201, "application/xml", "")
            }
            "DeletePublicAccessBlock" => {
                blocks.remove(request.account());
                respond(204, "application/xml", "")
            }
            other => {
                let message = format!("The sandbox has no operation `{other}` of S3 Control.");
                Refusal::new(501, "NotImplemented", message).response("s3control")
            }
        }
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Bucket)) {
        if let Some(bucket) = locked(&self.buckets).get_mut(name) {
            change(bucket);
        }
    }
}

fn denied() -> Refusal {
    Refusal::new(403, "AccessDenied", "Access Denied")
}

async fn pass(backends: &Backends, request: &Request, region: &str) -> Response<Bytes> {
    request.pass_to(&backends.s3, &format!("s3.{region}.amazonaws.com")).await
}

/// Checks a lifecycle document as S3 does, and gives the rules that have none their id.
fn lifecycle(document: &str) -> Result<String, Refusal> {
    let malformed = || {
        let message = "The XML you provided was not well-formed or did not validate against our published \
                       schema";
        Refusal::new(400, "MalformedXML", message)
    };
    let mut parts = document.split("<Rule>");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    let mut ids = BTreeSet::new();
    let mut filtered = BTreeSet::new();
    for part in parts {
        let (rule, rest) = part.split_once("</Rule>").ok_or_else(malformed)?;
        let has = |name: &str| rule.contains(&format!("<{name}>")) || rule.contains(&format!("<{name}/>"));
        if !has("Status") || !(has("Filter") || has("Prefix")) {
            return Err(malformed());
        }
        filtered.insert(has("Filter"));
        let actions = [
            "Expiration",
            "Transition",
            "NoncurrentVersionExpiration",
            "NoncurrentVersionTransition",
            "AbortIncompleteMultipartUpload",
        ];
        if !actions.iter().any(|action| has(action)) {
            let message = "At least one action needs to be specified in a rule";
            return Err(Refusal::new(400, "InvalidRequest", message));
        }
        let (id, given) = match element(rule, "ID") {
            Some(id) => (id.to_owned(), ""),
            None => (uuid::Uuid::new_v4().to_string(), "<ID></ID>"),
        };
        if !ids.insert(id.clone()) {
            let message = "Rule ID must be unique. Found same ID for more than one rule";
            return Err(Refusal::new(400, "InvalidArgument", message));
        }
        let given = given.replace("><", &format!(">{id}<"));
        whole.extend(["<Rule>", &given, rule, "</Rule>", rest]);
    }
    if filtered.len() > 1 {
        let message = "Filter element can only be used in Lifecycle V2.";
        return Err(Refusal::new(400, "InvalidRequest", message));
    }
    if ids.is_empty() { Err(malformed()) } else { Ok(whole) }
}

/// Whether a policy lets everybody in; an error if it is none.
fn is_public(policy: &[u8]) -> Result<bool, Refusal> {
    let malformed = |message: &str| Refusal::new(400, "MalformedPolicy", message);
    let policy: Value = serde_json::from_slice(policy)
        .map_err(|_| malformed("Policies must be valid JSON and the first byte must be '{'"))?;
    let statements: Vec<&Value> = match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.iter().collect(),
        Some(statement @ Value::Object(_)) => vec![statement],
        _ => return Err(malformed("Missing required field Statement")),
    };
    for statement in &statements {
        let missing = ["Effect", "Principal", "Action", "Resource"]
            .into_iter()
            .find(|name| statement.get(name).or_else(|| statement.get(format!("Not{name}"))).is_none());
        if let Some(missing) = missing {
            return Err(malformed(&format!("Missing required field {missing}")));
        }
    }
    let everyone = |principal: &Value| {
        let named = principal.get("AWS").unwrap_or(principal);
        named == "*" || named.as_array().is_some_and(|list| list.iter().any(|one| one == "*"))
    };
    Ok(statements.iter().any(|statement| {
        statement.get("Effect").is_some_and(|effect| effect == "Allow")
            && statement.get("Principal").is_some_and(everyone)
            && statement.get("Condition").is_none()
    }))
}

/// The operation of a request to S3 Control.
pub(super) fn control_operation(request: &Request) -> String {
    let name = request.path.rsplit('/').next().unwrap_or_default();
    let verb = match request.method {
        Method::PUT | Method::POST => "Put",
        Method::DELETE => "Delete",
        _ => "Get",
    };
    let mut letters = name.chars();
    let name = letters.next().map(|first| first.to_uppercase().to_string() + letters.as_str());
    format!("{verb}{}", name.unwrap_or_default())
}
