//! AWS in the process: what the SDK's HTTP client would have sent is answered here, with no socket.
//!
//! An [`Emulator`] stands in front of [winterbaume](https://crates.io/crates/winterbaume-core), a stateful
//! emulator with one crate a service, and sets right what it does otherwise than AWS where redress would
//! notice; each of the modules below says what, and why. Answers are proven with the SDK in the tests
//! beside.
//!
//! | service | answered by |
//! |---|---|
//! | S3, Cognito user pools, `DynamoDB`, CloudTrail, CloudWatch Logs, ECR, `ElastiCache`, `GuardDuty`, IAM, Lambda, RDS, Redshift, Secrets Manager, SNS, SQS, Systems Manager | winterbaume, behind a layer of ours |
//! | S3 Control: the account's block of public access | our own |
//! | EC2: VPCs, security groups, Elastic IPs, tags, instances' metadata options, launch templates, the account's defaults for volumes and snapshots | our own |
//! | KMS: keys and their rotation | our own |
//! | STS: `AssumeRole`, `GetCallerIdentity`; `EventBridge`: `PutEvents` | our own |
//! | CloudWatch: daily sums of metrics | our own |
//! | Macie | winterbaume |
//! | any other, such as Security Hub | [`Emulator::with_service`] |
//!
//! ## Accounts and Regions
//! An access key of 12 digits is that account's root user, whatever the secret; so every account exists.
//! `AssumeRole` gives keys of the role's account. Any other key is refused. The Region is that of the
//! signature. Accounts share nothing but the names of buckets. Signatures, policies and the expiry of
//! sessions are not checked: what a principal may do is for an emulator with IAM to try.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::{Response, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use winterbaume_core::DEFAULT_ACCOUNT_ID;
use winterbaume_s3::S3Service;

mod automation;
mod cloudtrail;
mod cognito;
mod dynamodb;
mod ec2;
mod ecr;
mod events;
mod guardduty;
pub(crate) mod iam;
mod kms;
mod lambda;
mod logs;
mod monitoring;
mod others;
mod s3;
mod secretsmanager;
mod settings;
mod sns;
mod sqs;
mod ssm;
mod sts;
#[cfg(test)]
mod tests;
mod wire;

pub use events::BusEvent;
use wire::{Form, Refusal, Request};

/// A service of one's own. The request's `Authorization` names the account id as access key, whoever
/// called; the [`Principal`] is among the request's extensions.
pub type Handler = Arc<dyn Fn(http::Request<Bytes>) -> http::Response<Bytes> + Send + Sync>;

/// Looks at each call before it is answered, and may spoil it.
pub type Hook = Arc<dyn Fn(&Call) -> Option<Fault> + Send + Sync>;

/// Waited for before a call is looked at: what else happens in the world just then.
pub type Meanwhile = Arc<dyn Fn(&Call) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// AWS in the process; see the [module's documentation](self). Clones share one state.
#[derive(Clone, Default)]
pub struct Emulator {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    backends: Mutex<HashMap<String, Arc<Backends>>>,
    sessions: Mutex<HashMap<String, Principal>>,
    s3: s3::S3,
    ec2: ec2::Ec2,
    handlers: Mutex<HashMap<String, Handler>>,
    hook: Mutex<Option<Hook>>,
    meanwhile: Mutex<Option<Meanwhile>>,
    calls: Mutex<Vec<Call>>,
    events: Mutex<Vec<BusEvent>>,
    sums: Mutex<monitoring::Sums>,
}

/// Winterbaume for one account. It knows one account id a process, so each account has its own.
#[derive(Default)]
struct Backends {
    s3: S3Service,
    cognito: cognito::Pools,
    dynamodb: dynamodb::Tables,
    kms: kms::Keys,
    others: others::Others,
}

/// Who calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principal {
    /// The account; 12 digits.
    pub account: String,
    /// The ARN that `GetCallerIdentity` answers.
    pub arn: String,
    /// The `UserId` that `GetCallerIdentity` answers.
    pub user_id: String,
    /// The session policy that the role was assumed with. It is not enforced.
    pub session_policy: Option<String>,
}

/// An API call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The name that the service signs with, such as `s3`, `cognito-idp` or `events`; `s3control` for the
    /// account-wide settings of S3.
    pub service: String,
    /// The API operation, such as `PutBucketVersioning`; for REST services that are
    /// [added](Emulator::with_service), method and path, except Security Hub.
    pub operation: String,
    /// The caller's account; empty where the access key is unknown.
    pub account: String,
    /// The Region that was called.
    pub region: String,
    /// The caller's access key.
    pub access_key: String,
    /// The account to which the bucket must belong
    /// ([`x-amz-expected-bucket-owner`](https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html)).
    pub expected_owner: Option<String>,
    /// The HTTP status of the answer; `None` before it, and where the connection failed before the service
    /// was reached.
    pub status: Option<u16>,
}

impl Call {
    /// Whether the call can change something, going by the name of its operation.
    pub fn is_write(&self) -> bool {
        const READS: [&str; 11] = [
            "AdminGet",
            "AdminList",
            "AssumeRole",
            "BatchGet",
            "Describe",
            "Get",
            "Head",
            "List",
            "Query",
            "Scan",
            "TransactGet",
        ];
        !READS.iter().any(|read| self.operation.starts_with(read))
    }
}

/// What goes wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The service's own error for too many requests.
    Throttled,
    /// The service's own error for a caller without permission.
    Denied,
    /// The service's own error for its failure: a 5xx status.
    Failed,
    /// An error of one's own, in the service's form.
    Error {
        /// The HTTP status.
        status: u16,
        /// The error code.
        code: String,
        /// The message.
        message: String,
    },
    /// The connection is refused. Nothing reaches the service.
    NoConnection,
    /// The service does what was asked, and the connection breaks before its answer.
    AnswerLost,
    /// The service does what was asked, and never answers.
    Silent,
    /// The service does what was asked, and the connection breaks in the middle of its answer's body.
    Truncated,
    /// The service does what was asked, and a page of some proxy's comes as its answer.
    Garbled,
}

impl std::fmt::Debug for Emulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Emulator").field("calls", &locked(&self.shared.calls).len()).finish_non_exhaustive()
    }
}

impl Emulator {
    /// An AWS in which nothing is.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service, or replaces one, by the name that its requests are signed with, such as
    /// `securityhub`.
    #[must_use]
    pub fn with_service(self, name: &str, handler: Handler) -> Self {
        locked(&self.shared.handlers).insert(name.to_owned(), handler);
        self
    }

    /// The HTTP client to give to SDK configurations.
    pub fn http_client(&self) -> SharedHttpClient {
        SharedHttpClient::new(self.clone())
    }

    /// The configuration of an account's root user in a Region.
    pub fn sdk_config(&self, account: &str, region: &str) -> SdkConfig {
        let credentials = Credentials::new(account, "secret", None, None, "redress sandbox");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(self.http_client())
            .build()
    }

    /// Asks `hook` about every call from now on, instead of any hook before.
    pub fn on_call(&self, hook: Hook) {
        *locked(&self.shared.hook) = Some(hook);
    }

    /// Waits for `meanwhile` before every call from now on; `None` for nothing.
    pub fn meanwhile(&self, meanwhile: Option<Meanwhile>) {
        *locked(&self.shared.meanwhile) = meanwhile;
    }

    /// Asks nobody any more.
    pub fn clear_hook(&self) {
        *locked(&self.shared.hook) = None;
    }

    /// Every call so far, each try of it, in the order of their start.
    pub fn calls(&self) -> Vec<Call> {
        locked(&self.shared.calls).clone()
    }

    /// Forgets the calls, not what they did.
    pub fn forget_calls(&self) {
        locked(&self.shared.calls).clear();
    }

    /// The events that `PutEvents` has accepted so far, oldest first.
    pub fn events(&self) -> Vec<BusEvent> {
        locked(&self.shared.events).clone()
    }

    /// Adds to the daily sum of the metric whose one dimension has this value, as CloudWatch does with what a
    /// function logs in its embedded metric format.
    pub fn count(&self, account: &str, region: &str, value: &str, at: jiff::Timestamp, number: u64) {
        let key = (account.to_owned(), region.to_owned(), value.to_owned());
        *locked(&self.shared.sums).entry(key).or_default().entry(monitoring::day(at)).or_default() += number;
    }

    /// Who an access key is, if it is known; a root user as the partition `aws` names it.
    pub fn principal(&self, access_key: &str) -> Option<Principal> {
        if let Some(principal) = locked(&self.shared.sessions).get(access_key) {
            return Some(principal.clone());
        }
        let root = access_key.len() == 12 && access_key.bytes().all(|byte| byte.is_ascii_digit());
        root.then(|| Principal {
            account: access_key.to_owned(),
            arn: format!("arn:aws:iam::{access_key}:root"),
            user_id: access_key.to_owned(),
            session_policy: None,
        })
    }

    /// Answers a request that came over a socket, for processes other than this one; `None` where the connection is to
    /// break without an answer. An endpoint of one's own has no host name to tell S3 Control by.
    pub async fn answer_to(&self, request: http::Request<Bytes>) -> Option<Response<Bytes>> {
        let request = HttpRequest::try_from(request.map(SdkBody::from)).ok()?;
        let (parts, body) = self.connect(request).await.ok()?.try_into_http1x().ok()?.into_parts();
        Some(Response::from_parts(parts, body.collect().await.ok()?.to_bytes()))
    }

    fn add_session(&self, access_key: &str, principal: Principal) {
        locked(&self.shared.sessions).insert(access_key.to_owned(), principal);
    }

    fn backends(&self, account: &str) -> Arc<Backends> {
        locked(&self.shared.backends).entry(account.to_owned()).or_default().clone()
    }

    async fn connect(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(ConnectorError::user)?.to_bytes();
        let whole = http::Request::from_parts(parts.clone(), body.clone());
        let request = self.read(&parts, body);
        let operation = operation(&request);
        let call = Call {
            service: request.service.clone(),
            operation: operation.clone(),
            account: request.account().to_owned(),
            region: request.region.clone(),
            access_key: request.access_key.clone(),
            expected_owner: request.header("x-amz-expected-bucket-owner").map(str::to_owned),
            status: None,
        };
        let meanwhile = locked(&self.shared.meanwhile).clone();
        if let Some(meanwhile) = meanwhile {
            meanwhile(&call).await;
        }
        let index = {
            let mut calls = locked(&self.shared.calls);
            calls.push(call.clone());
            calls.len().saturating_sub(1)
        };
        let hook = locked(&self.shared.hook).clone();
        let fault = hook.and_then(|hook| hook(&call));
        let spoilt = fault.clone();
        let mut response = match fault {
            Some(Fault::NoConnection) => return Err(broken("connection refused")),
            None | Some(Fault::AnswerLost | Fault::Silent | Fault::Truncated | Fault::Garbled) => {
                self.answer(request, whole, &operation).await
            }
            Some(fault) => fault.refusal(&call).response(&call.service),
        };
        if let Some(known) = locked(&self.shared.calls).get_mut(index) {
            known.status = Some(response.status().as_u16());
        }
        match &spoilt {
            Some(Fault::AnswerLost) => return Err(broken("connection reset by peer")),
            Some(Fault::Silent) => std::future::pending().await,
            Some(Fault::Garbled) => {
                *response.body_mut() = Bytes::from_static(b"<!DOCTYPE html><title>Bad gateway</title>");
            }
            _ => {}
        }
        let id = if call.service.starts_with("s3") { "x-amz-request-id" } else { "x-amzn-requestid" };
        if let Ok(value) = wire::request_id().parse() {
            response.headers_mut().entry(id).or_insert(value);
        }
        let truncated = spoilt == Some(Fault::Truncated);
        let body = |body: Bytes| if truncated { Half::of(&body) } else { SdkBody::from(body) };
        HttpResponse::try_from(response.map(body)).map_err(|error| ConnectorError::user(error.into()))
    }

    fn read(&self, parts: &http::request::Parts, body: Bytes) -> Request {
        let header = |name: header::HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let host = parts.uri.host().unwrap_or_default().to_owned();
        let scope = header(header::AUTHORIZATION)
            .and_then(|value| value.split_once("Credential="))
            .map(|(_, rest)| rest.split([',', ' ']).next().unwrap_or_default())
            .unwrap_or_default();
        let mut scope = scope.split('/');
        let access_key = scope.next().unwrap_or_default().to_owned();
        let region = scope.nth(1).unwrap_or_default().to_owned();
        // S3 Control signs as S3; only its host tells them apart.
        let service = match scope.next() {
            Some("s3") if host.contains("s3-control") => "s3control",
            Some(service) => service,
            None => host.split('.').next().unwrap_or_default(),
        };
        let mut principal = self.principal(&access_key).unwrap_or_default();
        if principal.arn.ends_with(":root") {
            let partition = crate::securityhub::partition(&region);
            principal.arn = format!("arn:{partition}:iam::{}:root", principal.account);
        }
        let form = if wire::is_query(service) { Form::parse(&body) } else { Form::default() };
        Request {
            service: service.to_owned(),
            region,
            principal,
            access_key,
            method: parts.method.clone(),
            host,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers.clone(),
            body,
            form,
        }
    }

    async fn answer(
        &self,
        request: Request,
        whole: http::Request<Bytes>,
        operation: &str,
    ) -> Response<Bytes> {
        if request.account().is_empty() {
            let (code, message) = if request.service.starts_with("s3") {
                let message = "The AWS Access Key Id you provided does not exist in our records.";
                ("InvalidAccessKeyId", message)
            } else if request.service == "ec2" {
                ("AuthFailure", "AWS was not able to validate the provided access credentials")
            } else if wire::is_query(&request.service) {
                ("InvalidClientTokenId", "The security token included in the request is invalid.")
            } else {
                ("UnrecognizedClientException", "The security token included in the request is invalid.")
            };
            return Refusal::new(403, code, message).response(&request.service);
        }
        let handler = locked(&self.shared.handlers).get(&request.service).cloned();
        if let Some(handler) = handler {
            return handler(as_account(whole, &request));
        }
        let backends = self.backends(request.account());
        match request.service.as_str() {
            "s3" => self.shared.s3.answer(&backends, request, operation).await,
            "s3control" => self.shared.s3.control(&request, operation),
            "ec2" => self.shared.ec2.answer(&request, operation),
            "cognito-idp" => cognito::answer(&backends.cognito, &request, operation).await,
            "dynamodb" => backends.dynamodb.answer(&request, operation).await,
            "kms" => kms::answer(&backends.kms, &request, operation),
            "sts" => sts::answer(self, &request, operation),
            "monitoring" => monitoring::answer(&request, operation, &locked(&self.shared.sums)),
            "events" => events::answer(&request, operation, &mut locked(&self.shared.events)),
            _ => backends.others.answer(&request, operation).await,
        }
    }
}

impl Fault {
    /// Codes and statuses as the services document them under "Common errors" and "Error codes".
    fn refusal(&self, call: &Call) -> Refusal {
        let what = format!("{}:{}", call.service, call.operation);
        let (status, code) = match (self, call.service.as_str()) {
            (Self::Error { status, code, message }, _) => return Refusal::new(*status, code, message),
            (Self::Throttled, "s3" | "s3control") => (503, "SlowDown"),
            (Self::Throttled, "ec2") => (503, "RequestLimitExceeded"),
            (Self::Throttled, query) if wire::is_query(query) => (400, "Throttling"),
            (Self::Throttled, "dynamodb") => (400, "ProvisionedThroughputExceededException"),
            (Self::Throttled, "cognito-idp") => (400, "TooManyRequestsException"),
            // REST services say it by the status.
            (Self::Throttled, "guardduty" | "lambda" | "macie2" | "monitoring" | "securityhub") => {
                (429, "TooManyRequestsException")
            }
            (Self::Throttled, _) => (400, "ThrottlingException"),
            (Self::Denied, "ec2") => (403, "UnauthorizedOperation"),
            (Self::Denied, "s3" | "s3control") => (403, "AccessDenied"),
            (Self::Denied, query) if wire::is_query(query) => (403, "AccessDenied"),
            (Self::Denied, "guardduty" | "lambda" | "macie2" | "monitoring" | "securityhub") => {
                (403, "AccessDeniedException")
            }
            (Self::Denied, _) => (400, "AccessDeniedException"),
            (_, "s3" | "s3control" | "ec2") => (500, "InternalError"),
            (_, query) if wire::is_query(query) => (500, "InternalFailure"),
            (_, "dynamodb") => (500, "InternalServerError"),
            (_, "cognito-idp") => (500, "InternalErrorException"),
            (_, _) => (500, "InternalException"),
        };
        let message = match self {
            Self::Throttled => "Rate exceeded".to_owned(),
            Self::Denied => format!("User is not authorized to perform: {what}"),
            _ => "We encountered an internal error. Please try again.".to_owned(),
        };
        Refusal::new(status, code, message)
    }
}

impl HttpClient for Emulator {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Emulator {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let emulator = self.clone();
        HttpConnectorFuture::new(async move { emulator.connect(request).await })
    }
}

/// The request for a service of one's own, which need not know whose each access key is.
fn as_account(mut whole: http::Request<Bytes>, request: &Request) -> http::Request<Bytes> {
    let named = whole.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let named = named.map(|value| {
        let from = format!("Credential={}/", request.access_key);
        value.replacen(&from, &format!("Credential={}/", request.account()), 1)
    });
    if let Some(value) = named.and_then(|value| value.parse().ok()) {
        whole.headers_mut().insert(header::AUTHORIZATION, value);
    }
    whole.extensions_mut().insert(request.principal.clone());
    whole
}

/// The operation that a request means.
fn operation(request: &Request) -> String {
    match request.service.as_str() {
        "s3" => return s3::operation(request),
        "s3control" => return s3::control_operation(request),
        "securityhub" => return hub_operation(request),
        "monitoring" => return request.path.rsplit('/').next().unwrap_or_default().to_owned(),
        _ => {}
    }
    if let Some(action) = request.form.get("Action") {
        return action.to_owned();
    }
    if let Some(operation) = request.header("x-amz-target").and_then(|target| target.rsplit('.').next()) {
        operation.to_owned()
    } else {
        let known = others::rest_operation(&request.service, request.method.as_str(), &request.path);
        known.map_or_else(|| format!("{} {}", request.method, request.path), str::to_owned)
    }
}

/// The operations of Security Hub whose count or failure matters to redress.
fn hub_operation(request: &Request) -> String {
    let known = match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/findings") => "GetFindings",
        ("POST", "/findings/import") => "BatchImportFindings",
        ("PATCH", "/findings/batchupdate") => "BatchUpdateFindings",
        ("POST", "/findingsv2") => "GetFindingsV2",
        ("PATCH", "/findingsv2/batchupdatev2") => "BatchUpdateFindingsV2",
        ("POST", "/securityControls/batchGet") => "BatchGetSecurityControls",
        ("POST", "/actionTargets/get") => "DescribeActionTargets",
        (method, path) => return format!("{method} {path}"),
    };
    known.to_owned()
}

/// Winterbaume's text with its one account's ARNs made the account's own.
fn own_arns(text: &str, account: &str) -> String {
    text.replace(&format!(":{DEFAULT_ACCOUNT_ID}:"), &format!(":{account}:"))
}

fn broken(what: &str) -> ConnectorError {
    ConnectorError::io(std::io::Error::new(std::io::ErrorKind::ConnectionReset, what).into())
}

/// Half of a body, then a broken connection.
struct Half(Option<Bytes>);

impl Half {
    fn of(body: &Bytes) -> SdkBody {
        SdkBody::from_body_1_x(Self(Some(body.slice(..body.len() / 2))))
    }
}

impl Body for Half {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let broken = || std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "connection reset by peer");
        Poll::Ready(Some(self.0.take().map(Frame::data).ok_or_else(broken)))
    }
}

/// The lock's content, also after a panic of another holder: every change here is whole or not begun.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
