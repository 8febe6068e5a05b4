//! The SDK's shared configuration, and the way into accounts.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_securityhub::types::{ParameterValue, UnprocessedErrorCode, UnprocessedSecurityControl};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::service_config::ServiceConfigKey;
pub use redress_activity::environment::Roots;
use redress_activity::environment::{self, Unusable};
use redress_remediators::{BoxFuture, Connection, Error, ErrorKind, Result, WholeAnswers, narrowed_policy};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::engine::{Connect, ControlParams, Purpose};

/// The shortest session that STS gives, in seconds.
const SHORTEST_SESSION: i32 = 900;

/// The [source identity](https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_monitor.html)
/// of every session of a member role: CloudTrail shows it with each call, also with those of sessions made from
/// it, and the role's trust asks for it.
pub const SOURCE_IDENTITY: &str = "redress";

/// The HTTP client that all SDK clients share: one TLS stack, one pool of connections.
///
/// # Errors
/// Where the certificates can't be used.
pub fn http_client(roots: &Roots) -> Result<SharedHttpClient> {
    environment::http_client(roots).map_err(|error| unusable(&error))
}

/// A Lambda function's configuration: what its environment says, and nothing else.
///
/// # Errors
/// Without a Region or credentials, or where the certificates can't be used.
pub fn function_config(roots: &Roots) -> Result<SdkConfig> {
    environment::function_config(roots, timeouts(), retries()).map_err(|error| unusable(&error))
}

fn unusable(error: &Unusable) -> Error {
    Error::new(ErrorKind::Invalid, error.to_string())
}

/// Time-outs and retries of every call: three tries within half a minute, so that a function's deadline is
/// never spent on one call that does not answer.
pub fn defaults(http: SharedHttpClient) -> aws_config::ConfigLoader {
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts())
        .retry_config(retries())
}

/// Time-outs that leave a run time to record what came of them: 3.1 seconds to connect, 10 for an answer, 28 for all
/// attempts of a call.
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(3_100))
        .operation_attempt_timeout(Duration::from_secs(10))
        .operation_timeout(Duration::from_secs(28))
        .build()
}

/// Three attempts of each call. The queue brings back what fails after them.
pub fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(3)
}

/// A connection over `config`. Whatever endpoint S3 is sent to is no AWS of its own names, and gets the
/// bucket in the path.
pub fn connection(config: SdkConfig) -> Connection {
    let key = ServiceConfigKey::builder().service_id("S3").env("AWS_ENDPOINT_URL").profile("endpoint_url");
    let own = key.build().ok().and_then(|key| config.service_config()?.load_config(key)).is_some();
    let mut connection = Connection::new(config);
    connection.path_style |= own;
    connection
}

/// The partition of a Region, by the prefixes that AWS gives its partitions'
/// [Regions](https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html).
pub fn partition_of(region: &str) -> &'static str {
    match region.split('-').next() {
        Some("cn") => "aws-cn",
        Some("eusc") => "aws-eusc",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ if region.starts_with("us-iso-") => "aws-iso",
        _ if region.starts_with("us-isob-") => "aws-iso-b",
        _ if region.starts_with("eu-isoe-") => "aws-iso-e",
        _ if region.starts_with("us-isof-") || region.starts_with("eu-isof-") => "aws-iso-f",
        _ => "aws",
    }
}

/// Who is calling, as STS says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account of the credentials.
    pub account: String,
    /// The ARN of user or session.
    pub arn: String,
}

/// The role that is assumed in a finding's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRole {
    /// Its name (with its path, if it has one), the same in every account.
    pub name: String,
    /// The external id that its trust policy asks for.
    pub external_id: Option<String>,
}

/// The way into accounts by STS: the caller's own credentials, or a role narrowed by a session policy.
pub struct Accounts {
    base: SdkConfig,
    role: Option<MemberRole>,
    caller: Arc<OnceCell<Caller>>,
}

impl Accounts {
    /// `base` holds the credentials of the function or of whoever runs the command line.
    pub fn new(base: SdkConfig, role: Option<MemberRole>) -> Self {
        Self { base, role, caller: Arc::default() }
    }

    fn sts(&self) -> aws_sdk_sts::Client {
        let config = aws_sdk_sts::config::Builder::from(&self.base);
        aws_sdk_sts::Client::from_conf(config.interceptor(WholeAnswers).build())
    }

    /// Who is calling. Asked once.
    ///
    /// # Errors
    /// As STS said it.
    pub async fn caller(&self) -> Result<&Caller> {
        self.caller
            .get_or_try_init(|| async {
                let found = self.sts().get_caller_identity().send().await.map_err(Error::from)?;
                match (found.account, found.arn) {
                    (Some(account), Some(arn)) => Ok(Caller { account, arn }),
                    _ => Err(Error::new(ErrorKind::Transient, "STS does not say who is calling")),
                }
            })
            .await
    }

    async fn assume(&self, role: &MemberRole, purpose: &Purpose<'_>) -> Result<SdkConfig> {
        let key = purpose.key;
        self.session(role, &key.partition, &key.account, purpose.run, &sts_session_policy(purpose)).await
    }

    /// Tries whether the role of an account can be assumed as runs assume it. The session may do nothing.
    ///
    /// # Errors
    /// As STS said it; or where there is no role, and the account is another than the credentials'.
    pub async fn try_account(&self, partition: &str, account: &str, name: &str) -> Result<()> {
        let Some(role) = &self.role else { return self.own_account(account).await };
        let nothing = json!({
            "Version": "2012-10-17",
            "Statement": [{ "Effect": "Deny", "Action": "*", "Resource": "*" }],
        });
        self.session(role, partition, account, name, &nothing).await.map(drop)
    }

    async fn own_account(&self, account: &str) -> Result<()> {
        let caller = self.caller().await?;
        if caller.account == account {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Denied,
            format!(
                "the finding is of account {account}, the credentials of {}: a role is needed",
                caller.account
            ),
        ))
    }

    async fn session(
        &self,
        role: &MemberRole,
        partition: &str,
        account: &str,
        name: &str,
        session: &Value,
    ) -> Result<SdkConfig> {
        let arn = format!("arn:{partition}:iam::{account}:role/{}", role.name);
        let assumed = self
            .sts()
            .assume_role()
            .role_arn(&arn)
            .role_session_name(format!("redress-{name}"))
            .policy(session.to_string())
            .set_external_id(role.external_id.clone())
            .source_identity(SOURCE_IDENTITY)
            .duration_seconds(SHORTEST_SESSION)
            .send()
            .await
            .map_err(|error| about_source_identity(Error::from(error)).context(format!("role `{arn}`")))?;
        let unusable = || Error::new(ErrorKind::Transient, format!("role `{arn}`: STS gave no credentials"));
        let user = assumed.assumed_role_user.ok_or_else(unusable)?;
        // arn:PARTITION:sts::ACCOUNT:assumed-role/NAME/SESSION
        if user.arn.split(':').nth(4) != Some(account) {
            return Err(Error::new(
                ErrorKind::Denied,
                format!("role `{arn}` led into another account than the finding's"),
            ));
        }
        let given = assumed.credentials.ok_or_else(unusable)?;
        let credentials = Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            Some(given.session_token),
            given.expiration.try_into().ok(),
            "redress-member-role",
        );
        Ok(self.base.to_builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build())
    }
}

/// A session keeps the source identity that it began with, and STS says no to another one: whoever reads that can
/// do something about it only if told.
fn about_source_identity(mut error: Error) -> Error {
    let said = error.message.to_ascii_lowercase().replace([' ', '-', '_'], "");
    if error.kind == ErrorKind::Denied && said.contains("sourceidentity") {
        error.message = format!(
            "{} (the role is assumed with the source identity `{SOURCE_IDENTITY}`: that takes \
             sts:SetSourceIdentity, and credentials that have no other source identity already; take some that \
             have none, or give no --role)",
            error.message
        );
    }
    error
}

/// The session policy of a run: its remediator's actions for its access, on its one resource.
pub fn sts_session_policy(purpose: &Purpose<'_>) -> Value {
    let mut session = narrowed_policy(purpose.remediator, purpose.access, purpose.key, purpose.narrowed);
    if purpose.control_params
        && let Some(statements) = session["Statement"].as_array_mut()
    {
        statements.push(control_parameters_statement());
    }
    session
}

/// Allows [`control_params`] in a finding's account. A control is no resource: AWS offers no ARN for it. The
/// [operation](https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecurityhub.html) is checked
/// for the second action as well.
pub fn control_parameters_statement() -> Value {
    json!({
        "Effect": "Allow",
        "Action": ["securityhub:BatchGetSecurityControls", "securityhub:DescribeStandardsControls"],
        "Resource": "*",
    })
}

impl Connect for Accounts {
    fn connect<'a>(&'a self, purpose: &'a Purpose<'a>) -> BoxFuture<'a, Result<Connection>> {
        Box::pin(async move {
            let config = if let Some(role) = &self.role {
                self.assume(role, purpose).await?
            } else {
                self.own_account(&purpose.key.account).await?;
                self.base.clone()
            };
            let region = if purpose.key.region == "global" { purpose.region } else { &purpose.key.region };
            Ok(connection(config.to_builder().region(Region::new(region.to_owned())).build()))
        })
    }

    fn control_params<'a>(
        &'a self,
        connection: &'a Connection,
        control: &'a str,
    ) -> BoxFuture<'a, Result<Option<ControlParams>>> {
        Box::pin(async move { control_params(&connection.config, control).await })
    }
}

/// The parameters of a control as Security Hub has them, be they AWS's defaults or customised; `None`
/// where Security Hub does not know the control.
///
/// # Errors
/// As Security Hub said it.
pub async fn control_params(config: &SdkConfig, control: &str) -> Result<Option<ControlParams>> {
    let hub = aws_sdk_securityhub::Client::new(config);
    let found = hub
        .batch_get_security_controls()
        .security_control_ids(control)
        .send()
        .await
        .map_err(|error| Error::from(error).context(format!("parameters of {control}")))?;
    let Some(known) = found.security_controls().first() else {
        return unprocessed(control, found.unprocessed_ids()).map(|()| None);
    };
    let mut params = BTreeMap::new();
    for (name, configured) in known.parameters().into_iter().flatten() {
        let values = match configured.value() {
            Some(ParameterValue::Integer(one)) => vec![one.to_string()],
            Some(ParameterValue::IntegerList(many)) => many.iter().map(ToString::to_string).collect(),
            Some(ParameterValue::Double(one)) => vec![one.to_string()],
            Some(ParameterValue::Boolean(one)) => vec![one.to_string()],
            Some(ParameterValue::String(one) | ParameterValue::Enum(one)) => vec![one.clone()],
            Some(ParameterValue::StringList(many) | ParameterValue::EnumList(many)) => many.clone(),
            // A kind of value that this version does not know is no value that may be left out.
            Some(_) => {
                return Err(Error::new(
                    ErrorKind::Rejected,
                    format!("parameter `{name}` of {control} is of a kind that is not supported"),
                ));
            }
            None => Vec::new(),
        };
        params.insert(name.clone(), values);
    }
    Ok(Some(params))
}

/// Why Security Hub says nothing of a control; `Ok` where it does not know it.
fn unprocessed(control: &str, ids: &[UnprocessedSecurityControl]) -> Result<()> {
    let one = ids.first();
    let kind = match one.map(UnprocessedSecurityControl::error_code) {
        Some(Some(UnprocessedErrorCode::NotFound)) => return Ok(()),
        Some(Some(UnprocessedErrorCode::AccessDenied)) => ErrorKind::Denied,
        Some(Some(UnprocessedErrorCode::LimitExceeded)) => ErrorKind::Throttled,
        _ => ErrorKind::Rejected,
    };
    let why =
        one.and_then(UnprocessedSecurityControl::error_reason).unwrap_or("Security Hub gives no reason");
    Err(Error::new(kind, format!("parameters of {control}: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_are_withheld_are_no_parameters_that_are_not_there() {
        let of = |code| {
            let one = UnprocessedSecurityControl::builder().security_control_id("S3.13").error_code(code);
            unprocessed("S3.13", &[one.error_reason("no").build()]).map_err(|error| error.kind)
        };
        assert_eq!(of(UnprocessedErrorCode::NotFound), Ok(()));
        assert_eq!(of(UnprocessedErrorCode::AccessDenied), Err(ErrorKind::Denied));
        assert_eq!(of(UnprocessedErrorCode::LimitExceeded), Err(ErrorKind::Throttled));
        assert_eq!(of(UnprocessedErrorCode::InvalidInput), Err(ErrorKind::Rejected));
        let unsaid = unprocessed("S3.13", &[]).map_err(|error| error.kind);
        assert_eq!(unsaid, Err(ErrorKind::Rejected));
    }

    #[test]
    fn a_refused_source_identity_is_explained_and_nothing_else_is() {
        let said = "User: arn:aws:sts::123456789012:assumed-role/x/y is not authorized to perform: \
                    sts:SetSourceIdentity on resource: arn:aws:iam::123456789012:role/redress-remediator";
        let error = about_source_identity(Error::new(ErrorKind::Denied, said));
        assert!(error.message.starts_with(said) && error.message.contains("no other source identity"));
        for (kind, said) in [
            (ErrorKind::Denied, "is not authorized to perform: sts:AssumeRole"),
            (ErrorKind::Transient, "SourceIdentity service is away"),
        ] {
            assert_eq!(about_source_identity(Error::new(kind, said)).message, said);
        }
    }
}
