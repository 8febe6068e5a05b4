//! A deployment without an account: ministack for AWS, redress's own Security Hub, a queue, a proxy that
//! sees every call; and the real `dispatcher` binary under a Lambda Runtime API.

use std::{path::PathBuf, process::Command, sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use jiff::Timestamp;
use redress_router::{
    audit::{Record, verify_run},
    store::{Index, RunRef, Store, dynamodb::DynamoDb},
};
use redress_sandbox::{securityhub::SecurityHub, serve, tables};
use serde_json::Value;

use crate::{
    error::{Context, Error, Result},
    hold_proxy::{HoldProxy, Upstreams},
    ministack::{Ministack, Options},
    process::target_dir,
    runtime_api::Bootstrap,
    sqs_poller::{Queue, Settings},
};

/// The account of everything.
pub const ACCOUNT: &str = "123456789012";
/// The Region of everything.
pub const REGION: &str = "eu-west-1";
/// The state table.
pub const STATE_TABLE: &str = "redress-state";
/// The audit table.
pub const AUDIT_TABLE: &str = "redress-audit";
/// The queue that outcome events reach by a rule of the event bus.
pub const OUTCOME_QUEUE: &str = "redress-outcomes";

/// Everything around the function.
#[derive(Debug)]
pub struct Deployment {
    /// AWS.
    pub ministack: Ministack,
    /// Security Hub.
    pub hub: SecurityHub,
    /// The queue between EventBridge and the function.
    pub queue: Queue,
    /// What all calls of the function pass.
    pub proxy: HoldProxy,
    /// Straight to ministack, as the account's root.
    pub aws: SdkConfig,
    servers: (serve::Server, crate::http1::Server),
}

/// Set where the whole workspace has just been built: another cargo may be at work, for which this one would wait.
pub const BUILT: &str = "REDRESS_BUILT";

/// Builds a binary of the workspace, if need be, and says where it is.
///
/// # Errors
/// Where it does not build.
pub fn binary(name: &str) -> Result<PathBuf> {
    if std::env::var_os(BUILT).is_some() {
        return Ok(target_dir().join("debug").join(name));
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // No `-p`: the binary is built with the features of the whole workspace, as it was for the tests.
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--bin", name])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status()
        .context(|| format!("cargo build --bin {name}"))?;
    if !built.success() {
        return Err(Error::new(format!("`{name}` does not build")));
    }
    Ok(target_dir().join("debug").join(name))
}

impl Deployment {
    /// Starts everything.
    ///
    /// # Errors
    /// Where a part does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts everything, with options for ministack.
    ///
    /// # Errors
    /// Where a part does not start.
    pub async fn start_with(options: Options) -> Result<Self> {
        Self::around(options.account(ACCOUNT).region(REGION).start().await?, &[]).await
    }

    /// Starts everything around this ministack, with services that are elsewhere, by the name in a signature.
    ///
    /// # Errors
    /// Where a part does not start.
    pub async fn around(ministack: Ministack, elsewhere: &[(&str, String)]) -> Result<Self> {
        let hub = SecurityHub::new();
        let handler = hub.clone();
        let hub_server = serve::Server::start(move |request: http::Request<bytes::Bytes>| {
            handler.handle_request(&request)
        })
        .await
        .context(|| "Security Hub".to_owned())?;
        let settings = Settings {
            name: "redress".to_owned(),
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
            visibility: Duration::from_secs(180),
            max_receive_count: Some(10),
        };
        let queue = Queue::new(settings);
        let queue_server = queue.serve()?;
        let mut upstreams = Upstreams::to(ministack.url())
            .service("securityhub", hub_server.url())
            .service("sqs", queue_server.url());
        for (service, url) in elsewhere {
            upstreams = upstreams.service(*service, url);
        }
        let proxy = HoldProxy::start(upstreams)?;
        let aws = sdk_config(ministack.url(), ACCOUNT);
        let deployment = Self { ministack, hub, queue, proxy, aws, servers: (hub_server, queue_server) };
        deployment.make_tables().await?;
        deployment.make_outcome_queue().await?;
        deployment.make_actions().await?;
        Ok(deployment)
    }

    async fn make_tables(&self) -> Result<()> {
        let dynamodb = aws_sdk_dynamodb::Client::new(&self.aws);
        for (table, keys) in [(STATE_TABLE, tables::STATE), (AUDIT_TABLE, tables::AUDIT)] {
            tables::make(&dynamodb, table, keys).await.context(|| format!("table {table}"))?;
        }
        Ok(())
    }

    async fn make_actions(&self) -> Result<()> {
        let config = self.aws.to_builder().endpoint_url(self.hub_url()).build();
        let hub = aws_sdk_securityhub::Client::new(&config);
        for action in ["RedressPlan", "RedressFix", "RedressUndo", "TurnOnS3Versioning"] {
            let made = hub.create_action_target().name(action).description(action).id(action).send().await;
            made.context(|| format!("custom action {action}"))?;
        }
        Ok(())
    }

    async fn make_outcome_queue(&self) -> Result<()> {
        let sqs = aws_sdk_sqs::Client::new(&self.aws);
        let events = aws_sdk_eventbridge::Client::new(&self.aws);
        sqs.create_queue().queue_name(OUTCOME_QUEUE).send().await.context(|| "outcome queue".to_owned())?;
        let pattern = r#"{"source":["redress"]}"#;
        events
            .put_rule()
            .name("outcomes")
            .event_pattern(pattern)
            .send()
            .await
            .context(|| "outcome rule".to_owned())?;
        let target = aws_sdk_eventbridge::types::Target::builder()
            .id("queue")
            .arn(format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{OUTCOME_QUEUE}"))
            .build()
            .context(|| "outcome target".to_owned())?;
        events
            .put_targets()
            .rule("outcomes")
            .targets(target)
            .send()
            .await
            .context(|| "outcome target".to_owned())?;
        Ok(())
    }

    /// The function, as the deployment configures it: ceiling `apply`, tables, write-back, event bus. Its
    /// calls pass the proxy.
    ///
    /// # Errors
    /// Where the binary does not build.
    pub fn function(&self) -> Result<Bootstrap> {
        Ok(self.function_at(binary("dispatcher")?))
    }

    /// [`Deployment::function`] for a binary of another build.
    pub fn function_at(&self, program: PathBuf) -> Bootstrap {
        let queue_url = format!("{}/{ACCOUNT}/redress", self.proxy.url());
        let dead_url = format!("{}/{ACCOUNT}/redress-dead", self.proxy.url());
        Bootstrap::new(program)
            .aws(&self.proxy.url(), ACCOUNT, "secret")
            .place(ACCOUNT, REGION)
            .timeout(Duration::from_secs(30))
            .env("REDRESS_CEILING", "apply")
            .env("REDRESS_STATE_TABLE", STATE_TABLE)
            .env("REDRESS_AUDIT_TABLE", AUDIT_TABLE)
            .env("REDRESS_WRITE_BACK", "on")
            .env("REDRESS_EVENT_BUS", "default")
            .env("REDRESS_QUEUE_URL", queue_url)
            .env("REDRESS_DEAD_LETTER_URL", dead_url)
    }

    /// Where Security Hub answers, past the proxy.
    pub fn hub_url(&self) -> String {
        self.servers.0.url()
    }

    /// The deployed tables, read past the proxy.
    pub fn store(&self) -> DynamoDb {
        let client = aws_sdk_dynamodb::Client::new(&self.aws);
        DynamoDb::new(client, STATE_TABLE, AUDIT_TABLE, 400, Arc::new(Timestamp::now))
    }

    /// The runs of a resource that have ended, newest first.
    ///
    /// # Errors
    /// Where the table can't be read.
    pub async fn runs(&self, resource: &str) -> Result<Vec<RunRef>> {
        self.store().runs(Index::Resource(resource), 1000).await.context(|| "runs".to_owned())
    }

    /// The records of a run, their chain checked.
    ///
    /// # Errors
    /// Where they can't be read, or don't fit together.
    pub async fn records(&self, run: &str) -> Result<Vec<Record>> {
        let lines = self.store().run(run).await.context(|| "records".to_owned())?;
        verify_run(lines.iter().map(String::as_str)).context(|| "records".to_owned())
    }

    /// Takes the outcome events out of their queue, until none comes for a second.
    ///
    /// # Errors
    /// Where the queue can't be read.
    pub async fn outcomes(&self) -> Result<Vec<Value>> {
        let sqs = aws_sdk_sqs::Client::new(&self.aws);
        let url = format!("{}/{ACCOUNT}/{OUTCOME_QUEUE}", self.ministack.url());
        let mut events = Vec::new();
        loop {
            let received = sqs
                .receive_message()
                .queue_url(&url)
                .max_number_of_messages(10)
                .wait_time_seconds(1)
                .send()
                .await
                .context(|| "outcome queue".to_owned())?;
            let messages = received.messages.unwrap_or_default();
            if messages.is_empty() {
                return Ok(events);
            }
            for message in messages {
                let body = message.body.unwrap_or_default();
                events.push(serde_json::from_str(&body).context(|| "outcome event".to_owned())?);
                if let Some(receipt) = message.receipt_handle {
                    let deleted = sqs.delete_message().queue_url(&url).receipt_handle(receipt).send().await;
                    deleted.context(|| "outcome queue".to_owned())?;
                }
            }
        }
    }

    /// Makes a bucket without anything set.
    ///
    /// # Errors
    /// Where it can't be made.
    pub async fn bucket(&self, name: &str) -> Result<()> {
        let constraint = aws_sdk_s3::types::BucketLocationConstraint::from(REGION);
        let place =
            aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(constraint).build();
        let made = self.s3().create_bucket().bucket(name).create_bucket_configuration(place).send().await;
        made.context(|| format!("bucket {name}")).map(drop)
    }

    /// Whether the bucket's versioning is enabled; `None` where it never was.
    ///
    /// # Errors
    /// Where it can't be read.
    pub async fn versioning(&self, bucket: &str) -> Result<Option<String>> {
        let found = self.s3().get_bucket_versioning().bucket(bucket).send().await;
        let status = found.context(|| format!("bucket {bucket}"))?.status;
        Ok(status.map(|status| status.as_str().to_owned()))
    }

    /// Amazon S3, past the proxy.
    pub fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.aws).force_path_style(true).build();
        aws_sdk_s3::Client::from_conf(config)
    }
}

/// SDK settings for an emulator. A 12-digit access key is the root of that account.
pub fn sdk_config(url: &str, access_key: &str) -> SdkConfig {
    let credentials = Credentials::new(access_key, "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(url)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(
            aws_smithy_async::rt::sleep::TokioSleep::new(),
        ))
        .build()
}
