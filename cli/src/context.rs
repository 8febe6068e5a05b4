//! What commands share: AWS, who is calling, rules, store, engine.

use std::{path::PathBuf, sync::Arc};

use aws_config::{Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials as _;
use jiff::Timestamp;
use redress_remediators::{Key, REGISTRY, Sighting};
use redress_router::{
    activity::ActivityTable,
    aws::{Accounts, Caller, MemberRole, Roots, defaults, http_client, partition_of},
    budget::Budget,
    config::{Config, Tables},
    engine::{Activity, Engine, Settings},
    event::shown,
    rules::{Mode, RuleSet},
    store::{Clock, Store, dynamodb::DynamoDb, file::File, memory::Memory},
};

use crate::{
    Surroundings,
    args::{Format, Global},
    exit::{Exit, Failure, Result},
    output::Paint,
};

/// AWS as a command reaches it.
pub(crate) struct Reach {
    pub(crate) aws: SdkConfig,
    pub(crate) region: String,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) role: Option<MemberRole>,
}

/// All that a command which looks at resources needs.
pub(crate) struct Context {
    pub(crate) reach: Reach,
    pub(crate) caller: Caller,
    pub(crate) rules_source: String,
    pub(crate) engine: Arc<Engine>,
    /// The activity table, if one is named.
    pub(crate) activity: Option<Arc<ActivityTable>>,
    pub(crate) kept: Kept,
}

/// Where state and records are kept.
pub(crate) enum Kept {
    /// In the tables of a deployment.
    Deployed,
    /// In a folder of this machine.
    Here,
    /// Nowhere: a dry run that has nothing to look up.
    Nowhere,
}

/// What a command does with the store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Only looks things up. A folder that does not exist yet is not made for that.
    Look,
    /// Reads what was recorded. A folder that does not exist holds nothing to read, and is somewhere else than was
    /// thought.
    Read,
    /// Writes state and records.
    Write,
}

pub(crate) fn paint(global: &Global, around: &Surroundings) -> Paint {
    use crate::args::Color;
    Paint(match global.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => around.out_in_colour && global.format == Format::Text,
    })
}

pub(crate) fn rules(global: &Global) -> Result<(RuleSet, String)> {
    Ok(match &global.rules {
        Some(path) => (RuleSet::load(path, REGISTRY)?, path.display().to_string()),
        None => (RuleSet::builtin()?, "built in".to_owned()),
    })
}

impl Reach {
    pub(crate) async fn new(global: &Global, around: &Surroundings) -> Result<Self> {
        let aws = match &around.aws {
            Some(config) => {
                let mut config = config.to_builder();
                if let Some(region) = &global.region {
                    config = config.region(Region::new(region.clone()));
                }
                config.build()
            }
            None => load(global).await?,
        };
        let region = aws.region().map(ToString::to_string).ok_or_else(|| {
            Failure::input("no Region: give --region, or set AWS_REGION or a region in the profile")
        })?;
        let external_id = global.external_id.clone();
        let role = global.role.clone().map(|name| MemberRole { name, external_id });
        let accounts = Arc::new(Accounts::new(aws.clone(), role.clone()));
        Ok(Self { aws, region, accounts, role })
    }

    pub(crate) async fn caller(&self) -> Result<Caller> {
        match self.accounts.caller().await {
            Ok(caller) => Ok(caller.clone()),
            Err(error) => {
                // To the SDK, having no credentials is a fault like a broken connection.
                if error.code.is_none()
                    && let Some(why) = self.without_credentials().await
                {
                    return Err(Failure::new(Exit::Denied, format!("no AWS credentials: {why}")));
                }
                Err(Failure::from(error).context("who is calling"))
            }
        }
    }

    /// Why there are no credentials; `None` where there are.
    async fn without_credentials(&self) -> Option<String> {
        let Some(provider) = self.aws.credentials_provider() else {
            return Some("none is configured".into());
        };
        let error = provider.provide_credentials().await.err()?;
        let mut why = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            why = inner.to_string();
            source = inner.source();
        }
        // What follows the first line is a list of all the places that were looked at.
        let why = why.lines().next().unwrap_or_default().trim_end_matches(". Attempted:");
        Some(format!("{} (environment, profile, container, instance)", shown(why)))
    }
}

async fn load(global: &Global) -> Result<SdkConfig> {
    let roots = match std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) {
        Some(path) => Roots::Pem(
            std::fs::read(&path)
                .map_err(|error| Failure::input(format!("AWS_CA_BUNDLE {}: {error}", path.display())))?,
        ),
        None => Roots::System,
    };
    let mut loader = defaults(http_client(&roots)?);
    if let Some(profile) = &global.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &global.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(url) = &global.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    Ok(loader.load().await)
}

/// The deployment's tables, if one is named.
fn tables(global: &Global) -> Result<Option<Tables>> {
    let retention_days = global.retention_days;
    if let Some(name) = &global.deployment {
        let (state, audit) = (format!("{name}-state"), format!("{name}-audit"));
        return Ok(Some(Tables { state, audit, retention_days }));
    }
    match (&global.state_table, &global.audit_table) {
        (Some(state), Some(audit)) => {
            Ok(Some(Tables { state: state.clone(), audit: audit.clone(), retention_days }))
        }
        (None, None) => Ok(None),
        (Some(_), None) => Err(Failure::input("--state-table (REDRESS_STATE_TABLE) needs --audit-table")),
        (None, Some(_)) => Err(Failure::input("--audit-table (REDRESS_AUDIT_TABLE) needs --state-table")),
    }
}

/// Whether state and records are a deployment's: then they are reached by AWS.
pub(crate) fn deployed(global: &Global) -> Result<bool> {
    tables(global).map(|tables| tables.is_some())
}

/// Opens the store. `aws` is needed for a deployment's only.
pub(crate) fn store(global: &Global, aws: Option<&SdkConfig>, to: Use) -> Result<(Arc<dyn Store>, Kept)> {
    if let (Some(tables), Some(aws)) = (tables(global)?, aws) {
        let client = aws_sdk_dynamodb::Client::new(aws);
        let clock = Arc::new(Timestamp::now);
        let store = DynamoDb::new(client, tables.state, tables.audit, tables.retention_days, clock);
        return Ok((Arc::new(store), Kept::Deployed));
    }
    let Some(dir) = directory(global) else {
        return match to {
            Use::Look => Ok((Arc::new(Memory::default()), Kept::Nowhere)),
            Use::Read | Use::Write => Err(Failure::input(
                "no place for state and records: give --state-dir or --deployment, or set HOME",
            )),
        };
    };
    let about = |failure: Failure| failure.context(&format!("state directory `{}`", dir.display()));
    // One that can't be looked for is not one that is not there.
    let exists = dir.try_exists().map_err(|error| about(Failure::input(error.to_string())))?;
    match to {
        Use::Look if !exists => Ok((Arc::new(Memory::default()), Kept::Nowhere)),
        Use::Read if !exists => {
            Err(about(Failure::input("it does not exist: give --state-dir or --deployment")))
        }
        Use::Look | Use::Read | Use::Write => {
            let store = File::open(&dir).map_err(|error| about(error.into()))?;
            Ok((Arc::new(store), Kept::Here))
        }
    }
}

pub(crate) fn directory(global: &Global) -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    global
        .state_dir
        .clone()
        .or_else(|| folder("XDG_STATE_HOME").map(|dir| dir.join("redress")))
        .or_else(|| folder("HOME").map(|dir| dir.join(".local/state/redress")))
}

impl Context {
    pub(crate) async fn new(global: &Global, around: &Surroundings, to: Use) -> Result<Self> {
        let (rules, rules_source) = rules(global)?;
        let reach = Reach::new(global, around).await?;
        let caller = reach.caller().await?;
        let (store, kept) = store(global, Some(&reach.aws), to)?;
        let clock: Clock = Arc::new(Timestamp::now);
        let activity = global.activity_table.as_ref().map(|table| {
            Arc::new(ActivityTable::new(&reach.aws, table, Arc::clone(&store), Arc::clone(&clock)))
        });
        // Whoever only looks need not be allowed to write to a deployment's state.
        let paced_by =
            if to == Use::Write { Arc::clone(&store) } else { Arc::new(Memory::default()) as Arc<dyn Store> };
        let settings = Settings::default();
        let engine = Arc::new(Engine {
            registry: REGISTRY,
            rules,
            store,
            connect: Arc::clone(&reach.accounts) as _,
            activity: activity.clone().map(|table| table as Arc<dyn Activity>),
            budget: Arc::new(Budget::new(paced_by, Arc::clone(&clock))),
            settings: Settings {
                ceiling: Mode::Apply,
                partition: partition_of(&reach.region).to_owned(),
                sign_in_window: around.sign_in_window.unwrap_or(settings.sign_in_window),
                settles_others: !matches!(kept, Kept::Deployed),
                ..settings
            },
            clock,
        });
        Ok(Self { reach, caller, rules_source, engine, activity, kept })
    }

    /// The engine as a deployment's function has it: no run goes further than the function's, and users' activity is
    /// read where the function reads it, unless another table is named.
    pub(crate) fn engine_of(&self, function: &Config) -> Engine {
        let engine = &*self.engine;
        let activity = self.activity.clone().or_else(|| {
            let table = function.activity_table.as_ref()?;
            let (store, clock) = (Arc::clone(&engine.store), Arc::clone(&engine.clock));
            Some(Arc::new(ActivityTable::new(&self.reach.aws, table, store, clock)))
        });
        Engine {
            registry: engine.registry,
            rules: engine.rules.clone(),
            store: Arc::clone(&engine.store),
            connect: Arc::clone(&engine.connect),
            activity: activity.map(|table| table as Arc<dyn Activity>),
            budget: Arc::clone(&engine.budget),
            settings: Settings { ceiling: function.ceiling, ..engine.settings.clone() },
            clock: Arc::clone(&engine.clock),
        }
    }

    /// Which locks keep a dry run from writing.
    pub(crate) fn locks(&self) -> Vec<&'static str> {
        if self.reach.role.is_some() { vec!["process", "session_policy"] } else { vec!["process"] }
    }
}

/// The keys that a person may mean by a resource's key or ARN. An ARN without account or Region is taken
/// to be of these.
pub(crate) fn keys(text: &str, account: &str, region: &str) -> Result<Vec<Key>> {
    if !text.starts_with("arn:") {
        let key =
            text.parse::<Key>().map_err(|error| Failure::input(format!("`{}`: {error}", shown(text))))?;
        return Ok(vec![key]);
    }
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let [_, partition, _, in_region, of_account, _] = parts.as_slice() else {
        return Err(Failure::input(format!("`{}` is no ARN", shown(text))));
    };
    let or = |stated: &str, otherwise: &str| {
        if stated.is_empty() { otherwise.to_owned() } else { stated.to_owned() }
    };
    let (account, region) = (or(of_account, account), or(in_region, region));
    let mut keys = Vec::new();
    // Whatever is for any type of resource takes any ARN, also one that was mistyped.
    for remediator in REGISTRY.iter().filter(|remediator| !remediator.kind().is_any()) {
        let seen = Sighting {
            kind: remediator.kind().asff,
            id: text,
            id_alt: None,
            account: &account,
            region: &region,
            partition,
        };
        match remediator.locate(&seen) {
            Ok(key) if !keys.contains(&key) => keys.push(key),
            Ok(_) | Err(_) => {}
        }
    }
    if keys.is_empty() {
        return Err(Failure::input(format!("`{}` is no ARN of a resource that redress knows", shown(text))));
    }
    Ok(keys)
}

/// Which account and Region an ARN without them was taken to be of, in words; nothing where it has both.
pub(crate) fn assumed(text: &str, account: &str, region: &str) -> String {
    let mut parts = text.split(':').skip(3);
    match (parts.next(), parts.next()) {
        (Some(in_region), Some(of_account)) if in_region.is_empty() || of_account.is_empty() => {
            let region = if in_region.is_empty() { region } else { in_region };
            let account = if of_account.is_empty() { account } else { of_account };
            format!(
                " in account {account} and {} (a key says another: partition/account/region/kind/id)",
                shown(region)
            )
        }
        _ => String::new(),
    }
}

/// An account id, or a failure that says so.
pub(crate) fn account(text: &str) -> Result<&str> {
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text);
    }
    Err(Failure::new(Exit::Input, format!("`{}` is not an account id of 12 digits", shown(text))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;

    const KEY: &str = "aws/123456789012/eu-west-1/AwsS3Bucket/logs";

    #[test]
    fn an_arn_or_a_key_names_a_resource() {
        let found = |text| keys(text, "123456789012", "eu-west-1").unwrap();
        assert_eq!(found(KEY).first().unwrap().to_string(), KEY);
        assert_eq!(found("arn:aws:s3:::logs").first().unwrap().to_string(), KEY);
        for text in ["logs", "arn:aws:s3", "arn:aws:nope:::x", "a/b", "arn:aws:s3:::UPPER CASE"] {
            let failure = keys(text, "123456789012", "eu-west-1").unwrap_err();
            assert_eq!(failure.exit, Exit::Input, "{text}");
            assert!(failure.message.contains(text), "{}", failure.message);
        }
    }

    #[test]
    fn records_stay_in_a_deployments_tables_for_as_long_as_is_said() {
        let days = |said: &[&str]| {
            let cli = Cli::try_parse_from([&["redress", "history"], said].concat()).unwrap();
            tables(&cli.global).unwrap().unwrap().retention_days
        };
        assert_eq!(days(&["--deployment", "team"]), 400);
        assert_eq!(days(&["--deployment", "team", "--retention-days", "30"]), 30);
        let named = ["--state-table", "state", "--audit-table", "audit", "--retention-days", "3650"];
        assert_eq!(days(&named), 3650);
    }

    /// Undo by run or resource makes the resource's ARN from its key: it must lead back to the same key.
    #[test]
    fn every_kind_of_resource_is_found_by_its_arn() {
        let sub = "6f1c2b3a-0d4e-4f5a-8b6c-7d8e9f0a1b2c";
        for remediator in REGISTRY.iter().filter(|remediator| !remediator.kind().is_any()) {
            let kind = remediator.kind();
            let (region, name, id) = match kind.asff {
                "AwsS3Bucket" => ("eu-west-1", kind.asff, "logs".to_owned()),
                "AwsEc2SecurityGroup" => ("eu-west-1", kind.asff, "sg-0123456789abcdef0".to_owned()),
                "AwsEc2Eip" => ("eu-west-1", kind.asff, "eipalloc-0123456789abcdef0".to_owned()),
                "AwsRdsDbInstance"
                | "AwsRdsDbCluster"
                | "AwsRdsDbSnapshot"
                | "AwsRdsDbClusterSnapshot"
                | "AwsRedshiftCluster"
                | "AwsElastiCacheCacheCluster"
                | "AwsCloudTrailTrail"
                | "AwsDynamoDbTable"
                | "AwsLambdaFunction"
                | "AwsSnsTopic"
                | "AwsSqsQueue"
                | "AwsSsmDocument" => ("eu-west-1", kind.asff, "orders".to_owned()),
                "AwsCognitoUserPool" => ("eu-west-1", kind.asff, "eu-west-1_AbCdEfGhI".to_owned()),
                "AwsEc2NetworkAcl" => ("eu-west-1", kind.asff, "acl-0123456789abcdef0".to_owned()),
                "AwsEc2Snapshot" => ("eu-west-1", kind.asff, "snap-0123456789abcdef0".to_owned()),
                "AwsEc2Subnet" => ("eu-west-1", kind.asff, "subnet-0123456789abcdef0".to_owned()),
                "AwsEc2TransitGateway" => ("eu-west-1", kind.asff, "tgw-0123456789abcdef0".to_owned()),
                "AwsEc2Vpc" => ("eu-west-1", kind.asff, "vpc-0123456789abcdef0".to_owned()),
                "AwsEcrRepository" => ("eu-west-1", kind.asff, "shop/orders".to_owned()),
                "AwsIamUser" => ("global", kind.asff, "ada".to_owned()),
                "AwsKmsKey" => ("eu-west-1", kind.asff, sub.to_owned()),
                "AwsLogsLogGroup" => ("eu-west-1", kind.asff, "/aws/lambda/orders".to_owned()),
                "AwsSecretsManagerSecret" => ("eu-west-1", kind.asff, "orders-AbCdEf".to_owned()),
                "AwsEc2Instance" => ("eu-west-1", kind.asff, "i-0123456789abcdef0".to_owned()),
                "AwsEc2LaunchTemplate" => ("eu-west-1", kind.asff, "lt-0123456789abcdef0".to_owned()),
                "AwsEc2SnapshotBlockPublicAccess" | "AwsAccount" => {
                    ("eu-west-1", kind.asff, "123456789012".to_owned())
                }
                "Other" => ("eu-west-1", "CognitoUser", format!("eu-west-1_AbCdEfGhI/{sub}")),
                other => unreachable!("a new kind of resource: {other}"),
            };
            let key: Key = format!("aws/123456789012/{region}/{name}/{id}").parse().unwrap();
            let arn = key.fill(kind.arn);
            let seen = Sighting {
                kind: kind.asff,
                id: &arn,
                id_alt: None,
                account: "123456789012",
                region: "eu-west-1",
                partition: "aws",
            };
            let found = remediator.locate(&seen).unwrap();
            // Some settings of an account are one for all Regions.
            let region = if kind.asff == "AwsAccount" { &found.region } else { &key.region }.clone();
            assert!(matches!(region.as_str(), "global" | "eu-west-1"), "{found}");
            assert_eq!(found, Key { region, ..key }, "{arn}");
        }
    }
}
