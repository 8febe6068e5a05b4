//! What an HTTP request to AWS is: service, operation, Region and caller, read from the request as it goes
//! over the wire; and AWS's errors in the form that the service's protocol gives them.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use serde_json::json;

use crate::{http1, runtime_api::new_id};

/// How a service says what it is asked and what went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// S3.
    S3,
    /// S3 Control, signed as `s3`; its errors are wrapped.
    S3Control,
    /// EC2's own form of the query protocol.
    Ec2,
    /// STS, IAM, SNS, RDS and others: `Action=` in a form, XML back.
    Query,
    /// `DynamoDB`, SQS, `EventBridge`, Cognito and others: `X-Amz-Target`, JSON both ways.
    Json,
    /// Security Hub, Lambda and others: method and path, JSON both ways.
    RestJson,
}

/// A request, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsCall {
    /// The service's name in the signature's scope (`s3`, `ec2`, `cognito-idp`), empty if unsigned.
    pub service: String,
    /// The API's name for what is asked, such as `PutBucketVersioning`; `METHOD /path` where it is not
    /// known to this module.
    pub operation: String,
    /// The Region in the signature's scope.
    pub region: String,
    /// The access key that signed.
    pub access_key: String,
    /// The service's protocol.
    pub protocol: Protocol,
}

/// Reads a request.
pub fn identify(request: &Request<Bytes>) -> AwsCall {
    let authorization = text(request.headers(), header::AUTHORIZATION.as_str());
    let scope = authorization.split_once("Credential=").map(|(_, rest)| rest).unwrap_or_default();
    let scope = scope.split([',', ' ']).next().unwrap_or_default();
    let mut parts = scope.split('/');
    let (access_key, _date) = (parts.next().unwrap_or_default(), parts.next());
    let (region, service) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());

    let path = request.uri().path();
    let target = text(request.headers(), "x-amz-target");
    let form = text(request.headers(), "content-type").starts_with("application/x-www-form-urlencoded");
    let (protocol, operation) = if !target.is_empty() {
        (Protocol::Json, target.rsplit('.').next().map(str::to_owned))
    } else if service == "s3" && path.starts_with("/v20180820/") {
        (Protocol::S3Control, s3_control(request.method(), path))
    } else if service == "s3" {
        (Protocol::S3, s3(request))
    } else if service == "ec2" || form {
        let protocol = if service == "ec2" { Protocol::Ec2 } else { Protocol::Query };
        (protocol, form_value(request.body(), "Action"))
    } else {
        (Protocol::RestJson, rest_json(service, request.method(), path))
    };
    AwsCall {
        service: service.to_owned(),
        operation: operation.unwrap_or_else(|| format!("{} {path}", request.method())),
        region: region.to_owned(),
        access_key: access_key.to_owned(),
        protocol,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A value of an `application/x-www-form-urlencoded` body.
pub(crate) fn form_value(body: &[u8], key: &str) -> Option<String> {
    form_urlencoded::parse(body).find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
}

/// Sub-resources of a bucket, and the name that the API gives them after `Get`, `Put` or `Delete`.
const BUCKET_PARTS: &[(&str, &str)] = &[
    ("abac", "BucketAbac"),
    ("accelerate", "BucketAccelerateConfiguration"),
    ("acl", "BucketAcl"),
    ("analytics", "BucketAnalyticsConfiguration"),
    ("cors", "BucketCors"),
    ("encryption", "BucketEncryption"),
    ("intelligent-tiering", "BucketIntelligentTieringConfiguration"),
    ("inventory", "BucketInventoryConfiguration"),
    ("location", "BucketLocation"),
    ("logging", "BucketLogging"),
    ("metrics", "BucketMetricsConfiguration"),
    ("notification", "BucketNotificationConfiguration"),
    ("object-lock", "ObjectLockConfiguration"),
    ("ownershipControls", "BucketOwnershipControls"),
    ("policy", "BucketPolicy"),
    ("policyStatus", "BucketPolicyStatus"),
    ("publicAccessBlock", "PublicAccessBlock"),
    ("replication", "BucketReplication"),
    ("requestPayment", "BucketRequestPayment"),
    ("tagging", "BucketTagging"),
    ("versioning", "BucketVersioning"),
    ("website", "BucketWebsite"),
];

/// The same for an object.
const OBJECT_PARTS: &[(&str, &str)] = &[
    ("acl", "ObjectAcl"),
    ("attributes", "ObjectAttributes"),
    ("legal-hold", "ObjectLegalHold"),
    ("retention", "ObjectRetention"),
    ("tagging", "ObjectTagging"),
];

fn s3(request: &Request<Bytes>) -> Option<String> {
    let query: Vec<&str> = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .map(|pair| pair.split_once('=').map_or(pair, |(key, _)| key))
        .collect();
    let asks = |key: &str| query.contains(&key);
    let path = request.uri().path().trim_start_matches('/');
    // `BUCKET.localhost` or `BUCKET.s3.…`: the bucket is in the host name, the path is the key alone.
    let host = text(request.headers(), "host");
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let virtual_host = host.ends_with(".localhost") || host.contains(".s3.");
    let (bucket, key) = if virtual_host { (true, path) } else { split_bucket(path) };
    let method = request.method();
    let verb = match *method {
        Method::GET => "Get",
        Method::PUT => "Put",
        Method::DELETE => "Delete",
        _ => "",
    };
    let part_of = |parts: &[(&str, &str)]| {
        let (_, name) = parts.iter().find(|(part, _)| asks(part))?;
        (!verb.is_empty()).then(|| format!("{verb}{name}"))
    };
    if !bucket {
        return (method == Method::GET).then(|| "ListBuckets".to_owned());
    }
    if key.is_empty() {
        if asks("lifecycle") {
            // The deletion kept the older API's name.
            let name =
                if method == Method::DELETE { "BucketLifecycle" } else { "BucketLifecycleConfiguration" };
            return Some(format!("{verb}{name}"));
        }
        return part_of(BUCKET_PARTS).or_else(|| {
            let name = match *method {
                Method::GET if asks("versions") => "ListObjectVersions",
                Method::GET if asks("uploads") => "ListMultipartUploads",
                Method::GET if asks("list-type") => "ListObjectsV2",
                Method::GET => "ListObjects",
                Method::HEAD => "HeadBucket",
                Method::PUT => "CreateBucket",
                Method::DELETE => "DeleteBucket",
                Method::POST if asks("delete") => "DeleteObjects",
                _ => return None,
            };
            Some(name.to_owned())
        });
    }
    part_of(OBJECT_PARTS).or_else(|| {
        let copies = request.headers().contains_key("x-amz-copy-source");
        let name = match *method {
            Method::GET if asks("uploadId") => "ListParts",
            Method::GET => "GetObject",
            Method::HEAD => "HeadObject",
            Method::PUT if asks("uploadId") && copies => "UploadPartCopy",
            Method::PUT if asks("uploadId") => "UploadPart",
            Method::PUT if copies => "CopyObject",
            Method::PUT => "PutObject",
            Method::DELETE if asks("uploadId") => "AbortMultipartUpload",
            Method::DELETE => "DeleteObject",
            Method::POST if asks("uploads") => "CreateMultipartUpload",
            Method::POST if asks("uploadId") => "CompleteMultipartUpload",
            Method::POST if asks("restore") => "RestoreObject",
            _ => return None,
        };
        Some(name.to_owned())
    })
}

fn split_bucket(path: &str) -> (bool, &str) {
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    (!bucket.is_empty(), key)
}

fn s3_control(method: &Method, path: &str) -> Option<String> {
    let verb = match *method {
        Method::GET => "Get",
        Method::PUT => "Put",
        Method::DELETE => "Delete",
        _ => return None,
    };
    (path == "/v20180820/configuration/publicAccessBlock").then(|| format!("{verb}PublicAccessBlock"))
}

/// Security Hub's operations that a remediation uses or a test sets up.
fn rest_json(service: &str, method: &Method, path: &str) -> Option<String> {
    if service != "securityhub" {
        return None;
    }
    let name = match (method.as_str(), path.trim_end_matches('/')) {
        ("POST", "/findings") => "GetFindings",
        ("POST", "/findings/import") => "BatchImportFindings",
        ("PATCH", "/findings/batchupdate") => "BatchUpdateFindings",
        ("POST", "/findingsv2") => "GetFindingsV2",
        ("PATCH", "/findingsv2/batchupdatev2") => "BatchUpdateFindingsV2",
        ("POST", "/findingHistory/get") => "GetFindingHistory",
        ("POST", "/securityControls/batchGet") => "BatchGetSecurityControls",
        ("POST", "/actionTargets") => "CreateActionTarget",
        ("POST", "/actionTargets/get") => "DescribeActionTargets",
        ("GET", "/accounts") => "DescribeHub",
        ("POST", "/accounts") => "EnableSecurityHub",
        _ => return None,
    };
    Some(name.to_owned())
}

/// A fault that AWS answers with, whatever the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwsError {
    /// Too many calls: the code, and the status, that the service uses for it.
    Throttled,
    /// 500.
    Internal,
    /// 503; S3's `SlowDown`.
    Unavailable,
    /// The caller may not. 403, but 400 from services that speak JSON by `X-Amz-Target`.
    Denied,
    /// Anything else.
    Other {
        /// HTTP status.
        status: u16,
        /// Error code, such as `NoSuchBucket`.
        code: String,
        /// Its message, without characters that XML gives a meaning to.
        message: String,
    },
}

impl AwsError {
    /// Status, code and message for a service.
    fn parts(&self, call: &AwsCall) -> (u16, String, String) {
        let (status, code, message) = match (self, call.protocol) {
            (Self::Other { status, code, message }, _) => return (*status, code.clone(), message.clone()),
            (Self::Throttled | Self::Unavailable, Protocol::S3 | Protocol::S3Control) => {
                (503, "SlowDown", "Please reduce your request rate.")
            }
            (Self::Throttled, Protocol::Ec2) => (503, "RequestLimitExceeded", "Request limit exceeded."),
            (Self::Throttled, Protocol::Query) => (400, "Throttling", "Rate exceeded"),
            (Self::Throttled, Protocol::RestJson) => (429, "TooManyRequestsException", "Too Many Requests"),
            (Self::Throttled, Protocol::Json) => match call.service.as_str() {
                "cognito-idp" => (400, "TooManyRequestsException", "Rate exceeded"),
                _ => (400, "ThrottlingException", "Rate exceeded"),
            },
            (Self::Internal, Protocol::S3 | Protocol::S3Control | Protocol::Ec2) => {
                (500, "InternalError", "We encountered an internal error. Please try again.")
            }
            (Self::Internal, Protocol::Query) => (500, "InternalFailure", "An internal failure occurred."),
            (Self::Internal, Protocol::RestJson) => (500, "InternalException", "Internal server error"),
            (Self::Internal, Protocol::Json) => match call.service.as_str() {
                "dynamodb" => (500, "InternalServerError", "The request processing has failed"),
                "cognito-idp" => (500, "InternalErrorException", "Internal server error"),
                _ => (500, "InternalFailure", "The request processing has failed"),
            },
            (Self::Unavailable, Protocol::Ec2) => (503, "Unavailable", "The server is overloaded."),
            (Self::Unavailable, Protocol::Query) => (503, "ServiceUnavailable", "Service unavailable."),
            (Self::Unavailable, Protocol::Json | Protocol::RestJson) => {
                (503, "ServiceUnavailableException", "Service unavailable.")
            }
            (Self::Denied, protocol) => {
                let message =
                    format!("User is not authorized to perform: {}:{}", call.service, call.operation);
                let (status, code) = match protocol {
                    Protocol::S3 | Protocol::S3Control | Protocol::Query => (403, "AccessDenied"),
                    Protocol::Ec2 => (403, "UnauthorizedOperation"),
                    Protocol::Json => (400, "AccessDeniedException"),
                    Protocol::RestJson => (403, "AccessDeniedException"),
                };
                return (status, code.to_owned(), message);
            }
        };
        (status, code.to_owned(), message.to_owned())
    }

    /// The answer as the service would send it.
    pub fn answer(&self, call: &AwsCall) -> Response<Bytes> {
        let (status, code, message) = self.parts(call);
        let id = new_id();
        let xml = |body: String| {
            let declared = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}");
            http1::answer(status, "application/xml", declared)
        };
        let fields = format!("<Code>{code}</Code><Message>{message}</Message>");
        let mut answer = match call.protocol {
            Protocol::S3 => {
                xml(format!("<Error>{fields}<RequestId>{id}</RequestId><HostId>{id}</HostId></Error>"))
            }
            Protocol::S3Control => xml(format!(
                "<ErrorResponse><Error>{fields}</Error><RequestId>{id}</RequestId></ErrorResponse>"
            )),
            Protocol::Ec2 => xml(format!(
                "<Response><Errors><Error>{fields}</Error></Errors><RequestID>{id}</RequestID></Response>"
            )),
            Protocol::Query => xml(format!(
                "<ErrorResponse><Error><Type>Sender</Type>{fields}</Error><RequestId>{id}</RequestId></ErrorResponse>"
            )),
            Protocol::Json => {
                let body = json!({ "__type": code, "message": message });
                http1::answer(status, "application/x-amz-json-1.0", body.to_string())
            }
            Protocol::RestJson => {
                let mut answer = http1::json(status, &json!({ "Message": message, "Code": code }));
                if let Ok(code) = HeaderValue::from_str(&code) {
                    answer.headers_mut().insert("x-amzn-errortype", code);
                }
                answer
            }
        };
        let id_header = match call.protocol {
            Protocol::S3 | Protocol::S3Control => "x-amz-request-id",
            _ => "x-amzn-requestid",
        };
        if let Ok(id) = HeaderValue::from_str(&id) {
            answer.headers_mut().insert(id_header, id);
        }
        answer
    }
}
