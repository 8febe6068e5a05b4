//! The AWS clients of one run, and the lock that keeps them to what was declared.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use aws_config::SdkConfig;
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept, SharedInterceptor,
            context::{
                BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
                FinalizerInterceptorContextRef,
            },
        },
        orchestrator::Metadata,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Action, BoxFuture, Erased, ErrorKind, Key, Result as Outcome, WholeAnswers, error::request_id};

/// How often a call is tried that was throttled or went wrong on the way.
const TRIES: u32 = 4;

/// A quota of AWS's that redress shares with the applications of an account and Region.
#[derive(Debug)]
pub struct Quota {
    /// The service's IAM prefix and the name of AWS's category.
    pub name: &'static str,
    /// What AWS grants, in requests a second.
    pub per_second: u32,
    /// What redress takes of it, in requests a second, where nothing else is said.
    pub share: u32,
}

/// Whoever keeps calls within redress's share of a quota.
pub trait Pace: Send + Sync + fmt::Debug {
    /// Waits until a call may be made on behalf of this resource's account and Region.
    ///
    /// # Errors
    /// [`ErrorKind::Throttled`] where the share is used up until after the run's end.
    fn turn<'a>(&'a self, quota: &'static Quota, key: &'a Key) -> BoxFuture<'a, Outcome<()>>;

    /// Waits before a call is made again that has been tried so often.
    fn pause(&self, tried: u32) -> BoxFuture<'_, ()>;
}

/// How far a run may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// The declared reads, nothing else.
    Plan,
    /// The reads, and the writes of a fix.
    Apply,
    /// All of these, and what only the way back needs.
    Undo,
}

/// Credentials, Region, endpoints and HTTP client of one account and Region, before a run narrows them.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The SDK's shared configuration.
    pub config: SdkConfig,
    /// Whether S3 is addressed as `endpoint/bucket`, as emulators need it, not `bucket.endpoint`.
    pub path_style: bool,
    /// Who keeps calls within quotas; `None` lets them go at once, and once only.
    pub pace: Option<Arc<dyn Pace>>,
}

impl Connection {
    /// A connection to AWS, or to whatever endpoint `config` names.
    pub fn new(config: SdkConfig) -> Self {
        let path_style = config.endpoint_url().is_some();
        Self { config, path_style, pace: None }
    }
}

/// Where the time is taken from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The AWS clients of one run: one account, one Region, one remediator, one [`Access`].
///
/// Every client carries the same lock: an operation that is not among the remediator's declared actions
/// for this access is refused in the process, before it is serialized or signed, and every call that goes
/// out is recorded. A write is refused besides, each attempt of it, unless [`Aws::permit_writes`] lets it out.
pub struct Aws {
    connection: Connection,
    key: Key,
    run: String,
    gate: Gate,
    clients: Clients,
}

impl Aws {
    /// The clients for a run of `remediator` on `key`.
    pub fn new(connection: Connection, key: Key, remediator: &dyn Erased, access: Access) -> Self {
        let gate = Gate(Arc::new(GateInner {
            allowed: remediator.actions(access),
            reads: remediator.actions(Access::Plan),
            permit: Mutex::default(),
            calls: Mutex::default(),
        }));
        Self { connection, key, run: String::new(), gate, clients: Clients::default() }
    }

    /// The same, on behalf of this run.
    #[must_use]
    pub fn of_run(self, run: &str) -> Self {
        Self { run: run.to_owned(), ..self }
    }

    /// The id of the run, a UUID, which stays the same where another process goes on with it; empty where calls are
    /// made on behalf of none.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The resource that this run is about.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Lets writes out until then, by this clock. Before this is called none goes out: the engine calls it when the
    /// intent is stored, for as long as the run's lease is its own.
    pub fn permit_writes(&self, until: Timestamp, clock: Clock) {
        *self.gate.0.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(Permit { until, clock });
    }

    /// Every call that was made so far, in order of their start.
    pub fn calls(&self) -> Vec<Call> {
        self.gate.0.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a call when it is its turn, and again, at another turn, where it was throttled or went wrong on
    /// the way. Its client must not try again by itself.
    ///
    /// # Errors
    /// As AWS said it at last; [`ErrorKind::Throttled`] where no turn is left before the run's end.
    pub async fn paced<T, E, F>(&self, quota: &'static Quota, call: impl FnMut() -> F) -> Outcome<T>
    where
        F: Future<Output = Result<T, E>>,
        crate::Error: From<E>,
    {
        self.repeated(Some(quota), call).await
    }

    /// [`Aws::paced`] for a call whose quota need not be shared out.
    ///
    /// # Errors
    /// As AWS said it at last.
    pub async fn tried<T, E, F>(&self, call: impl FnMut() -> F) -> Outcome<T>
    where
        F: Future<Output = Result<T, E>>,
        crate::Error: From<E>,
    {
        self.repeated(None, call).await
    }

    async fn repeated<T, E, F>(
        &self,
        quota: Option<&'static Quota>,
        mut call: impl FnMut() -> F,
    ) -> Outcome<T>
    where
        F: Future<Output = Result<T, E>>,
        crate::Error: From<E>,
    {
        let Some(pace) = &self.connection.pace else { return Ok(call().await?) };
        let mut tried = 0;
        loop {
            if let Some(quota) = quota {
                pace.turn(quota, &self.key).await?;
            }
            tried += 1;
            match call().await.map_err(crate::Error::from) {
                Err(error)
                    if tried < TRIES && matches!(error.kind, ErrorKind::Throttled | ErrorKind::Transient) =>
                {
                    tracing::debug!(%error, tried, "to be tried again");
                    pace.pause(tried).await;
                }
                done => return done,
            }
        }
    }
}

/// The clients, each made when it is first asked for, with the lock on it: by Cargo feature, with what is special about
/// a service's configuration.
macro_rules! clients {
    ($($feature:literal $name:ident $sdk:ident, $what:literal $(, |$aws:ident, $config:ident| $special:expr)?;)*) => {
        #[derive(Default)]
        struct Clients { $(#[cfg(feature = $feature)] $name: std::sync::OnceLock<$sdk::Client>,)* }
        impl Aws {$(
            #[doc = $what]
            #[cfg(feature = $feature)]
            pub fn $name(&self) -> &$sdk::Client {
                self.clients.$name.get_or_init(|| {
                    let config = $sdk::config::Builder::from(&self.connection.config);
                    $(let config = { let ($aws, $config) = (self, config); $special };)?
                    let config = config.interceptor(self.gate.clone()).interceptor(WholeAnswers);
                    $sdk::Client::from_conf(config.build())
                })
            }
        )*}
    };
}

clients! {
    "cloudtrail" cloudtrail aws_sdk_cloudtrail, "AWS CloudTrail.";
    // Tried again by `Aws::paced` only: calls that the SDK repeats by itself would count towards the quota unseen.
    "cognito" cognito aws_sdk_cognitoidentityprovider,
        "Cognito user pools. Its calls are tried again by [`Aws::paced`] and [`Aws::tried`] only.",
        |_aws, config| config.retry_config(aws_config::retry::RetryConfig::disabled());
    "dynamodb" dynamodb aws_sdk_dynamodb, "Amazon DynamoDB.";
    "ec2" ec2 aws_sdk_ec2, "Amazon EC2.";
    "ecr" ecr aws_sdk_ecr, "Amazon ECR.";
    "elasticache" elasticache aws_sdk_elasticache, "Amazon `ElastiCache`.";
    "guardduty" guardduty aws_sdk_guardduty, "Amazon `GuardDuty`.";
    "iam" iam aws_sdk_iam, "AWS IAM, which is one for the whole partition.";
    "kms" kms aws_sdk_kms, "AWS KMS.";
    "lambda" lambda aws_sdk_lambda, "AWS Lambda.";
    "logs" logs aws_sdk_cloudwatchlogs, "Amazon CloudWatch Logs.";
    "macie2" macie2 aws_sdk_macie2, "Amazon Macie.";
    "rds" rds aws_sdk_rds, "Amazon RDS.";
    "redshift" redshift aws_sdk_redshift, "Amazon Redshift.";
    "s3" s3 aws_sdk_s3, "Amazon S3.", |aws, config| config.force_path_style(aws.connection.path_style);
    "s3" s3control aws_sdk_s3control, "The account-wide settings of S3.";
    "secretsmanager" secretsmanager aws_sdk_secretsmanager, "AWS Secrets Manager.";
    "sns" sns aws_sdk_sns, "Amazon SNS.";
    "sqs" sqs aws_sdk_sqs, "Amazon SQS.";
    "ssm" ssm aws_sdk_ssm, "AWS Systems Manager.";
}

/// One API call of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The service: its IAM prefix, such as `s3`, save for `s3control`, which shares that one.
    pub service: String,
    /// The API operation, such as `PutBucketVersioning`.
    pub operation: String,
    /// AWS's request id, once it has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The HTTP status of the last answer; `None` if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// A call that was stopped in the process.
#[derive(Debug)]
pub(crate) enum Blocked {
    /// It is not declared for this access.
    Undeclared(String),
    /// Nothing is stored that says what it is for.
    Unrecorded(String),
    /// The time of the run's lease is over: another may be at the resource.
    Late(String),
}

impl Blocked {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Undeclared(_) | Self::Unrecorded(_) => ErrorKind::Blocked,
            Self::Late(_) => ErrorKind::Transient,
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undeclared(call) => write!(f, "`{call}` is not among the calls that this run may make"),
            Self::Unrecorded(call) => write!(f, "`{call}` writes, and no intent is stored"),
            Self::Late(call) => write!(f, "`{call}` writes, and the time of the run's lease is over"),
        }
    }
}

impl std::error::Error for Blocked {}

/// Until when writes may go out.
struct Permit {
    until: Timestamp,
    clock: Clock,
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("until", &self.until).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
struct Gate(Arc<GateInner>);

#[derive(Debug)]
struct GateInner {
    allowed: Vec<Action>,
    reads: Vec<Action>,
    permit: Mutex<Option<Permit>>,
    calls: Mutex<Vec<Call>>,
}

/// Where the call that is under way stands in [`GateInner::calls`].
#[derive(Clone, Copy, Debug)]
struct Index(usize);

impl Storable for Index {
    type Storer = StoreReplace<Self>;
}

impl Gate {
    fn with_call(&self, cfg: &ConfigBag, change: impl FnOnce(&mut Call)) {
        let mut calls = self.0.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(call) = cfg.load::<Index>().and_then(|index| calls.get_mut(index.0)) {
            change(call);
        }
    }

    /// Whether a declared call may go out now.
    fn permits(&self, service: &str, operation: &str) -> Result<(), Blocked> {
        if self.0.reads.iter().any(|action| action.covers(service, operation)) {
            return Ok(());
        }
        let call = || format!("{service}:{operation}");
        match &*self.0.permit.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Err(Blocked::Unrecorded(call())),
            Some(Permit { until, clock }) if clock() >= *until => Err(Blocked::Late(call())),
            Some(_) => Ok(()),
        }
    }
}

/// The call that is under way.
fn named(cfg: &ConfigBag) -> (&'static str, String) {
    match cfg.load::<Metadata>() {
        Some(known) => (service_name(known.service()), known.name().to_owned()),
        None => ("unknown", "unknown".to_owned()),
    }
}

// `read_before_serialization` is the first hook that knows the operation: client interceptors run
// `read_before_execution` before the operation's own configuration (and with it `Metadata`) is there.
#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Gate {
    fn name(&self) -> &'static str {
        "redress::Gate"
    }

    fn read_before_serialization(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let (service, operation) = named(cfg);
        if !self.0.allowed.iter().any(|action| action.covers(service, &operation)) {
            return Err(Blocked::Undeclared(format!("{service}:{operation}")).into());
        }
        self.permits(service, &operation)?;
        let mut calls = self.0.calls.lock().unwrap_or_else(PoisonError::into_inner);
        cfg.interceptor_state().store_put(Index(calls.len()));
        calls.push(Call { service: service.to_owned(), operation, request_id: None, status: None });
        Ok(())
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Each attempt on its own: the first may have taken long.
        let (service, operation) = named(cfg);
        self.permits(service, &operation)?;
        self.with_call(cfg, |call| tracing::trace!(call.service, call.operation, "calling"));
        Ok(())
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(response) = context.response() {
            self.with_call(cfg, |call| {
                call.request_id = request_id(response);
                call.status = Some(response.status().as_u16());
            });
        }
        Ok(())
    }
}

impl From<Gate> for SharedInterceptor {
    fn from(gate: Gate) -> Self {
        Self::new(gate)
    }
}

/// A service as [`Call::service`] names it, from the name that the SDK knows it by. An unknown one matches
/// no action.
fn service_name(service: &str) -> &'static str {
    match service {
        "CloudTrail" => "cloudtrail",
        "CloudWatch Logs" => "logs",
        "Cognito Identity Provider" => "cognito-idp",
        "DynamoDB" => "dynamodb",
        "EC2" => "ec2",
        "ECR" => "ecr",
        "ElastiCache" => "elasticache",
        "GuardDuty" => "guardduty",
        "IAM" => "iam",
        "KMS" => "kms",
        "Lambda" => "lambda",
        "Macie2" => "macie2",
        "RDS" => "rds",
        "Redshift" => "redshift",
        "S3" => "s3",
        // Its calls are checked as `s3:` actions, but S3 has operations of the same names.
        "S3 Control" => "s3control",
        "Secrets Manager" => "secretsmanager",
        "SNS" => "sns",
        "SQS" => "sqs",
        "SSM" => "ssm",
        _ => "unknown",
    }
}

#[cfg(all(test, feature = "s3"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::{Error, find, raw::test::Wire};

    #[tokio::test]
    async fn a_declared_write_goes_out_while_its_intent_is_stored_and_the_lease_held() {
        let wire = Wire::default();
        wire.answer("PUT /?versioning", (200, Vec::new(), String::new()));
        wire.answer("GET /?versioning", (200, Vec::new(), "<VersioningConfiguration/>".to_owned()));
        let aws = wire.unpermitted(find("s3.enable_versioning").unwrap(), Access::Apply);
        let write = async || -> Result<(), Error> {
            let config = aws_sdk_s3::types::VersioningConfiguration::builder().build();
            let put = aws.s3().put_bucket_versioning().bucket("logs").versioning_configuration(config);
            put.send().await?;
            Ok(())
        };
        aws.s3().get_bucket_versioning().bucket("logs").send().await.unwrap();
        let early = write().await.unwrap_err();
        assert_eq!(early.kind, ErrorKind::Blocked);
        assert!(early.message.contains("no intent is stored"), "{early}");

        let second = |number| Timestamp::from_second(number).unwrap();
        aws.permit_writes(second(10), Arc::new(move || second(9)));
        write().await.unwrap();
        aws.permit_writes(second(10), Arc::new(move || second(10)));
        let late = write().await.unwrap_err();
        assert_eq!(late.kind, ErrorKind::Transient, "whoever comes next settles it");
        assert!(late.message.contains("lease is over"), "{late}");
        aws.s3().get_bucket_versioning().bucket("logs").send().await.unwrap();
        assert_eq!(wire.sent().iter().filter(|sent| sent.method == "PUT").count(), 1);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_whole_is_none() {
        let wire = Wire::default();
        let cut_off = "<VersioningConfiguration><Status>Enabled</Status>";
        let page = "<!DOCTYPE html><title>Forbidden</title>";
        for (status, body) in [(200, cut_off), (403, page)] {
            wire.answer("GET /?versioning", (status, Vec::new(), body.to_owned()));
            let aws = wire.unpermitted(find("s3.enable_versioning").unwrap(), Access::Plan);
            let error =
                Error::from(aws.s3().get_bucket_versioning().bucket("logs").send().await.unwrap_err());
            assert_eq!(error.kind, ErrorKind::Transient, "{error}");
            assert!(error.message.contains("it is not whole"), "{error}");
        }
    }

    /// The time of the lease passes between two attempts of one call.
    #[tokio::test(start_paused = true)]
    async fn each_attempt_of_a_write_is_looked_at() {
        let wire = Wire::default();
        wire.answer("PUT /?versioning", (500, Vec::new(), String::new()));
        let aws = wire.unpermitted(find("s3.enable_versioning").unwrap(), Access::Apply);
        // A second passes with each look: one before the request is made, one before each attempt.
        let looks = std::sync::atomic::AtomicI64::new(0);
        let clock =
            move || Timestamp::from_second(looks.fetch_add(1, std::sync::atomic::Ordering::SeqCst)).unwrap();
        aws.permit_writes(Timestamp::from_second(2).unwrap(), Arc::new(clock));
        let config = aws_sdk_s3::types::VersioningConfiguration::builder().build();
        let put = aws.s3().put_bucket_versioning().bucket("logs").versioning_configuration(config);
        let error = Error::from(put.send().await.unwrap_err());
        assert!(error.message.contains("lease is over"), "{error}");
        assert_eq!(wire.sent().len(), 1);
    }
}
