//! Failures, told apart by what to do about them.

use std::{error::Error as StdError, fmt};

use aws_smithy_runtime_api::{
    client::{orchestrator::HttpResponse, result::SdkError},
    http::StatusCode,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::aws::Blocked;

/// A result whose error carries its own [`Disposition`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong with one call or one decision.
#[derive(Clone, Debug)]
pub struct Error {
    /// What kind of failure it is; decides what happens next.
    pub kind: ErrorKind,
    /// One line, lower case, no final period.
    pub message: String,
    /// The code AWS answered with, such as `AccessDenied`.
    pub code: Option<String>,
    /// The id of the failed request, for AWS support and CloudTrail.
    pub request_id: Option<String>,
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The resource does not exist (any more): the finding is stale.
    NotFound,
    /// The credentials may not do this.
    Denied,
    /// Too many requests, after the SDK's own retries.
    Throttled,
    /// Time-out, broken connection, 5xx, a resource that is busy.
    Transient,
    /// A change was accepted and can't be seen yet.
    Unsettled,
    /// The resource is not as it was when the change was planned.
    Drifted,
    /// The service refuses the request for good.
    Rejected,
    /// A call that this run may not make was stopped in the process.
    Blocked,
    /// Input (event, parameter, resource name, stored state) that can't be used.
    Invalid,
}

/// What the engine does about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Give the event back to its queue, with back-off.
    Retry,
    /// Nothing is left to do: the resource is gone.
    Close,
    /// Record and report it; trying again would not help.
    Escalate,
}

impl ErrorKind {
    /// The name in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Denied => "denied",
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Unsettled => "unsettled",
            Self::Drifted => "drifted",
            Self::Rejected => "rejected",
            Self::Blocked => "blocked",
            Self::Invalid => "invalid",
        }
    }

    /// What to do about this kind of failure.
    pub fn disposition(self) -> Disposition {
        match self {
            Self::Throttled | Self::Transient | Self::Unsettled => Disposition::Retry,
            Self::NotFound => Disposition::Close,
            Self::Denied | Self::Drifted | Self::Rejected | Self::Blocked | Self::Invalid => {
                Disposition::Escalate
            }
        }
    }
}

impl Error {
    /// A failure that no AWS answer stands behind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), code: None, request_id: None }
    }

    /// An answer of AWS's that leaves out what it always says.
    pub fn unsaid(what: &str) -> Self {
        Self::new(ErrorKind::Rejected, format!("AWS's answer does not say {what}"))
    }

    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        self.kind.disposition()
    }

    /// The same failure, with what was attempted put before its message.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {}

impl<E> From<SdkError<E, HttpResponse>> for Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        // Stopped before it was signed, or before one of its attempts.
        if let Some(blocked) = find_source::<Blocked>(&error) {
            return Self::new(blocked.kind(), blocked.to_string());
        }
        match &error {
            SdkError::ServiceError(service) => {
                let meta = service.err().meta();
                let status = service.raw().status();
                let code = meta.code().unwrap_or_default();
                let kind = classify(code, status);
                let shown = if code.is_empty() { format!("HTTP {}", status.as_u16()) } else { code.into() };
                let message = match meta.message() {
                    Some(text) if !text.is_empty() => format!("{shown}: {text}"),
                    _ => shown,
                };
                Self {
                    kind,
                    message,
                    code: Some(code.to_owned()).filter(|code| !code.is_empty()),
                    request_id: request_id(service.raw()),
                }
            }
            SdkError::ResponseError(response) => Self {
                kind: ErrorKind::Transient,
                message: format!("unreadable answer: {}", innermost(&error)),
                code: None,
                request_id: request_id(response.raw()),
            },
            SdkError::TimeoutError(_) => Self::new(ErrorKind::Transient, "no answer in time"),
            // No credentials is not a fault of the network, but arrives by the same way.
            SdkError::DispatchFailure(failure) if failure.is_other() && !failure.is_io() => {
                let why = innermost(&error);
                let kind = if why.contains("credentials") { ErrorKind::Denied } else { ErrorKind::Transient };
                Self::new(kind, why)
            }
            SdkError::DispatchFailure(_) => {
                Self::new(ErrorKind::Transient, format!("connection failed: {}", innermost(&error)))
            }
            _ => Self::new(ErrorKind::Invalid, innermost(&error)),
        }
    }
}

/// AWS's request id: `x-amzn-requestid` in most services, `x-amz-request-id` in S3.
pub(crate) fn request_id(response: &HttpResponse) -> Option<String> {
    let headers = response.headers();
    headers.get("x-amzn-requestid").or_else(|| headers.get("x-amz-request-id")).map(str::to_owned)
}

/// By code before status: the JSON services deny with 400, and S3 answers a busy bucket with 409.
fn classify(code: &str, status: StatusCode) -> ErrorKind {
    // "ValidationException.SomeDetail" and "Client.Code" do not occur in the services used; EC2 alone
    // puts a dot into codes, as in `InvalidAllocationID.NotFound`. SQS has some of its codes, and not always the same
    // ones, with its name before them, as it had when it spoke XML:
    // https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueUrl.html#API_GetQueueUrl_Errors
    let code = code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code);
    if matches!(
        code,
        "SlowDown"
            | "RequestLimitExceeded"
            | "BandwidthLimitExceeded"
            | "TooManyRequestsException"
            | "TooManyRequests"
            | "PriorRequestNotComplete"
            | "ProvisionedThroughputExceededException"
            | "RequestThrottled"
    ) || code.starts_with("Throttl")
        || status.as_u16() == 429
    {
        return ErrorKind::Throttled;
    }
    // A session ends in the middle of a run when the process was frozen: the next attempt has a new one.
    if matches!(code, "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "RequestTimeTooSkewed") {
        return ErrorKind::Transient;
    }
    if code.starts_with("AccessDenied")
        || matches!(
            code,
            "UnauthorizedOperation"
                | "AuthFailure"
                | "NotAuthorizedException"
                | "AuthorizationError"
                | "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "InvalidClientTokenId"
                | "UnrecognizedClientException"
                | "OptInRequired"
                | "AllAccessDisabled"
                | "AccountProblem"
        )
    {
        return ErrorKind::Denied;
    }
    if matches!(
        code,
        "OperationAborted"
            | "OperationAbortedException"
            | "ResourceInUseException"
            | "ContinuousBackupsUnavailableException"
            | "ConcurrentModification"
            | "ConcurrentModificationException"
            | "ConflictException"
            | "RequestTimeout"
            | "RequestTimeoutException"
            | "InternalError"
            | "InternalFailure"
            | "ServiceUnavailable"
            | "Unavailable"
            // Busy databases: what a state that lasts stands against is refused before.
            | "InvalidDBInstanceState"
            | "InvalidDBClusterStateFault"
            | "InvalidDBSnapshotState"
            | "InvalidDBClusterSnapshotStateFault"
            | "InvalidClusterState"
            | "InvalidCacheClusterState"
            | "InvalidReplicationGroupState"
            // IAM, of a user whose password was made a moment ago.
            | "EntityTemporarilyUnmodifiable"
    ) {
        return ErrorKind::Transient;
    }
    // Of SQS and of Systems Manager, which name what is missing in words of their own.
    if matches!(code, "NonExistentQueue" | "QueueDoesNotExist" | "InvalidDocument") {
        return ErrorKind::NotFound;
    }
    if code.starts_with("NoSuch") || code.contains("NotFound") {
        return ErrorKind::NotFound;
    }
    match status.as_u16() {
        401 | 403 => ErrorKind::Denied,
        // Without a code it is no word of AWS's: some proxy's page must not make a finding stale.
        404 | 410 if !code.is_empty() => ErrorKind::NotFound,
        404 | 408 | 410 | 500.. => ErrorKind::Transient,
        _ => ErrorKind::Rejected,
    }
}

fn innermost(error: &dyn StdError) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

fn find_source<T: StdError + 'static>(error: &dyn StdError) -> Option<&T> {
    let mut next = error.source();
    while let Some(source) = next {
        if let Some(found) = source.downcast_ref() {
            return Some(found);
        }
        next = source.source();
    }
    None
}

/// Turns "there is no such configuration" into `None`, which is not "there is no such resource".
#[allow(dead_code, reason = "a build may have the features of no service")]
pub(crate) trait AbsentIf<T> {
    /// `Ok(None)` where AWS answered with exactly this code.
    fn absent_if(self, code: &str) -> Result<Option<T>>;
}

impl<T, E> AbsentIf<T> for std::result::Result<T, SdkError<E, HttpResponse>>
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    fn absent_if(self, code: &str) -> Result<Option<T>> {
        match self {
            Ok(found) => Ok(Some(found)),
            Err(error) => match Error::from(error) {
                error if error.code.as_deref() == Some(code) => Ok(None),
                error => Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn code_comes_before_status() {
        let kind = |code, status| classify(code, StatusCode::try_from(status).unwrap());
        assert_eq!(kind("AccessDeniedException", 400), ErrorKind::Denied);
        assert_eq!(kind("SlowDown", 503), ErrorKind::Throttled);
        assert_eq!(kind("ThrottlingException", 400), ErrorKind::Throttled);
        assert_eq!(kind("OperationAborted", 409), ErrorKind::Transient);
        assert_eq!(kind("EntityTemporarilyUnmodifiable", 409), ErrorKind::Transient);
        assert_eq!(kind("ResourceInUseException", 400), ErrorKind::Transient);
        assert_eq!(kind("ContinuousBackupsUnavailableException", 400), ErrorKind::Transient);
        assert_eq!(kind("OperationAbortedException", 400), ErrorKind::Transient);
        assert_eq!(kind("NoSuchBucket", 404), ErrorKind::NotFound);
        assert_eq!(kind("TableNotFoundException", 400), ErrorKind::NotFound);
        assert_eq!(kind("InvalidAllocationID.NotFound", 400), ErrorKind::NotFound);
        assert_eq!(kind("UserNotFoundException", 400), ErrorKind::NotFound);
        assert_eq!(kind("DBClusterNotFoundFault", 404), ErrorKind::NotFound);
        assert_eq!(kind("InvalidDBInstanceState", 400), ErrorKind::Transient);
        assert_eq!(kind("InvalidDBClusterStateFault", 400), ErrorKind::Transient);
        assert_eq!(kind("AWS.SimpleQueueService.NonExistentQueue", 400), ErrorKind::NotFound);
        assert_eq!(kind("QueueDoesNotExist", 400), ErrorKind::NotFound);
        assert_eq!(kind("AWS.SimpleQueueService.ThrottlingException", 400), ErrorKind::Throttled);
        assert_eq!(kind("AWS.SimpleQueueService.ExpiredTokenException", 400), ErrorKind::Transient);
        assert_eq!(kind("InvalidDocument", 400), ErrorKind::NotFound);
        assert_eq!(kind("InvalidDocumentContent", 400), ErrorKind::Rejected);
        assert_eq!(kind("UnauthorizedOperation", 403), ErrorKind::Denied);
        assert_eq!(kind("ExpiredToken", 400), ErrorKind::Transient);
        assert_eq!(kind("InvalidIPAddress.InUse", 400), ErrorKind::Rejected);
        assert_eq!(kind("MalformedPolicy", 400), ErrorKind::Rejected);
        assert_eq!(kind("", 500), ErrorKind::Transient);
        assert_eq!(kind("", 403), ErrorKind::Denied);
        assert_eq!(kind("", 404), ErrorKind::Transient);
    }

    #[test]
    fn only_passing_faults_are_retried() {
        use Disposition::{Close, Escalate, Retry};
        use ErrorKind as K;
        let table = [
            (K::NotFound, Close),
            (K::Denied, Escalate),
            (K::Throttled, Retry),
            (K::Transient, Retry),
            (K::Unsettled, Retry),
            (K::Drifted, Escalate),
            (K::Rejected, Escalate),
            (K::Blocked, Escalate),
            (K::Invalid, Escalate),
        ];
        for (kind, disposition) in table {
            assert_eq!(kind.disposition(), disposition, "{}", kind.as_str());
        }
    }
}
