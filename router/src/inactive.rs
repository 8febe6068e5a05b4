//! Redress's own findings: users of Cognito user pools who have not been seen for long.
//!
//! They are written to the account's
//! [default product](https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-custom-providers.html),
//! as anybody in the account could: they point to a user, and prove nothing.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_securityhub::types::{
    AwsSecurityFinding, AwsSecurityFindingFilters, Compliance, ComplianceStatus, RecordState, Resource,
    ResourceDetails, Severity, SeverityLabel, SortCriterion, SortOrder,
};
use jiff::{SignedDuration, Timestamp};
use redress_activity::row::Row;
use redress_remediators::{Error, ErrorKind, Key, Result};
use serde_json::{Value, json};
use tokio::{sync::OnceCell, time::Instant};

use crate::{
    control::INACTIVE_USER,
    event::{Decoded, decode_many},
    finding::Finding,
    hub,
};

/// Findings in one call of
/// [`BatchImportFindings`](https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchImportFindings.html).
const MOST_FINDINGS: usize = 100;

/// No call begins with less time than this left.
const TIME_TO_IMPORT: Duration = Duration::from_secs(5);

const KIND: &str = "Software and Configuration Checks/AWS Security Best Practices";

/// Where pools, activity table and function are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// `aws`, `aws-cn`, …
    pub partition: String,
    /// The account.
    pub account: String,
    /// The Region.
    pub region: String,
}

impl Home {
    /// From the ARN of the function that is invoked: `arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME`.
    pub fn of_function(arn: &str) -> Option<Self> {
        let mut parts = arn.split(':');
        let (Some("arn"), Some(partition), Some("lambda"), Some(region), Some(account)) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let filled = [partition, region, account].iter().all(|part| !part.is_empty());
        filled.then(|| Self {
            partition: partition.to_owned(),
            account: account.to_owned(),
            region: region.to_owned(),
        })
    }

    /// A user of a pool here.
    pub fn user(&self, pool: &str, sub: &str) -> Key {
        Key {
            partition: self.partition.clone(),
            account: self.account.clone(),
            region: self.region.clone(),
            kind: "CognitoUser".to_owned(),
            id: format!("{pool}/{sub}"),
        }
    }

    fn user_arn(&self, pool: &str, sub: &str) -> String {
        let Self { partition, account, region } = self;
        format!("arn:{partition}:cognito-idp:{region}:{account}:userpool/{pool}/user/{sub}")
    }

    /// Under which product our findings are.
    pub fn product(&self) -> String {
        let Self { partition, account, region } = self;
        format!("arn:{partition}:securityhub:{region}:{account}:product/{account}/default")
    }
}

/// What a finding says of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// Not seen for so long.
    Inactive(SignedDuration),
    /// Seen again, gone, disabled, or exempt.
    Over,
}

/// A user's finding. Its id is the user's, so that there is one, whatever becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Inactive {
    /// `redress/inactive-user/POOL/SUB`.
    pub id: String,
    home: Home,
    row: Row,
    says: Says,
    at: Timestamp,
}

impl Inactive {
    /// The finding of the user of this row, at this time.
    pub fn new(home: &Home, row: &Row, says: Says, at: Timestamp) -> Self {
        let id = format!("redress/inactive-user/{}/{}", row.pool, row.sub);
        Self { id, home: home.clone(), row: row.clone(), says, at }
    }

    fn title(&self) -> String {
        match self.says {
            Says::Inactive(threshold) => {
                let days = threshold.as_hours() / 24;
                format!("A user of a Cognito user pool has not been seen for {days} days")
            }
            Says::Over => "A user of a Cognito user pool is not inactive any more".to_owned(),
        }
    }

    fn description(&self) -> String {
        let (what, since) = if self.row.signed_in {
            ("was last seen", self.row.seen)
        } else {
            ("has never signed in since", self.row.seen)
        };
        format!(
            "The user `{}` of the pool `{}` {what} {}.",
            self.row.sub,
            self.row.pool,
            since.strftime("%Y-%m-%d")
        )
    }

    fn compliance(&self) -> (ComplianceStatus, RecordState) {
        match self.says {
            Says::Inactive(_) => (ComplianceStatus::Failed, RecordState::Active),
            Says::Over => (ComplianceStatus::Passed, RecordState::Archived),
        }
    }

    /// The finding in the Security Finding Format.
    pub fn asff(&self) -> Value {
        let Home { partition, account, region } = &self.home;
        let (compliance, record_state) = self.compliance();
        json!({
            "SchemaVersion": "2018-10-08",
            "Id": self.id,
            "ProductArn": self.home.product(),
            "GeneratorId": INACTIVE_USER,
            "AwsAccountId": account,
            "Region": region,
            "Types": [KIND],
            "CreatedAt": self.row.since().to_string(),
            "UpdatedAt": self.at.to_string(),
            "Severity": { "Label": "MEDIUM" },
            "Title": self.title(),
            "Description": self.description(),
            "Compliance": { "Status": compliance.as_str() },
            "Workflow": { "Status": "NEW" },
            "RecordState": record_state.as_str(),
            "Resources": [{
                "Type": "Other",
                "Id": self.home.user_arn(&self.row.pool, &self.row.sub),
                "Partition": partition,
                "Region": region,
            }],
        })
    }

    /// The finding as it comes back from Security Hub: what rules are matched with.
    ///
    /// # Errors
    /// Why there is none; of a row whose pool or user can't stand in a finding.
    pub fn decoded(&self) -> std::result::Result<Box<Finding>, String> {
        let text = self.asff().to_string();
        match decode_many(text.as_bytes()).map_err(|invalid| invalid.to_string())?.pop() {
            Some(Decoded::Finding(finding)) => Ok(finding),
            Some(Decoded::Invalid(invalid)) => Err(invalid.to_string()),
            _ => Err("the row's pool and user make no finding".to_owned()),
        }
    }

    fn typed(&self) -> AwsSecurityFinding {
        let (compliance, record_state) = self.compliance();
        let details = ResourceDetails::builder()
            .other("UserPoolId", &self.row.pool)
            .other("Sub", &self.row.sub)
            .other("LastSeen", self.row.seen.to_string())
            .build();
        let resource = Resource::builder()
            .r#type("Other")
            .id(self.home.user_arn(&self.row.pool, &self.row.sub))
            .region(&self.home.region)
            .details(details)
            .build();
        AwsSecurityFinding::builder()
            .schema_version("2018-10-08")
            .id(&self.id)
            .product_arn(self.home.product())
            .generator_id(INACTIVE_USER)
            .aws_account_id(&self.home.account)
            .types(KIND)
            .created_at(self.row.since().to_string())
            .updated_at(self.at.to_string())
            .severity(Severity::builder().label(SeverityLabel::Medium).build())
            .title(self.title())
            .description(self.description())
            .compliance(Compliance::builder().status(compliance).build())
            .record_state(record_state)
            .resources(resource)
            .build()
    }
}

/// A finding of ours that is open in Security Hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The pool's id.
    pub pool: String,
    /// The user's `sub`.
    pub sub: String,
}

/// Writes our findings, and finds those that are open.
pub struct Importer {
    config: SdkConfig,
    hub: OnceCell<aws_sdk_securityhub::Client>,
}

impl Importer {
    /// An importer with these credentials, in their account and Region.
    pub fn new(config: SdkConfig) -> Self {
        Self { config, hub: OnceCell::new() }
    }

    async fn hub(&self) -> &aws_sdk_securityhub::Client {
        self.hub.get_or_init(async || aws_sdk_securityhub::Client::new(&self.config)).await
    }

    /// Writes findings, as long as there is time; one result for each that it came to, in their order.
    pub async fn import(&self, findings: &[Inactive], deadline: Instant) -> Vec<Result<()>> {
        let mut results = Vec::with_capacity(findings.len());
        for findings in findings.chunks(MOST_FINDINGS) {
            if Instant::now() + TIME_TO_IMPORT > deadline {
                break;
            }
            results.extend(self.chunk(findings).await);
        }
        results
    }

    async fn chunk(&self, findings: &[Inactive]) -> Vec<Result<()>> {
        let typed = findings.iter().map(Inactive::typed).collect();
        let request = self.hub().await.batch_import_findings().set_findings(Some(typed));
        let sent = request.send().await;
        let sent = sent.map_err(|error| Error::from(error).context("import into Security Hub"));
        let refused = match sent {
            Ok(answer) => answer.failed_findings.unwrap_or_default(),
            Err(error) => return findings.iter().map(|_| Err(error.clone())).collect(),
        };
        findings
            .iter()
            .map(|finding| match refused.iter().find(|refused| refused.id() == Some(&finding.id)) {
                None => Ok(()),
                Some(refused) => {
                    let code = refused.error_code().unwrap_or_default();
                    let transient =
                        code.contains("Internal") || code.contains("Throttl") || code.contains("Limit");
                    let kind = if transient { ErrorKind::Transient } else { ErrorKind::Rejected };
                    let mut error =
                        Error::new(kind, format!("Security Hub did not take the finding: {code}"));
                    error.code = Some(code.to_owned());
                    Err(error)
                }
            })
            .collect()
    }

    /// Whose findings are open, page by page: those of whom nothing was seen for the longest time first, or last.
    pub async fn open(&self, home: &Home, order: SortOrder) -> OpenPages<'_> {
        let filters = AwsSecurityFindingFilters::builder()
            .product_arn(hub::equals(&home.product()))
            .generator_id(hub::equals(INACTIVE_USER))
            .record_state(hub::equals("ACTIVE"))
            .build();
        let order = SortCriterion::builder().field("CreatedAt").sort_order(order).build();
        let prefix = home.user_arn("", "").trim_end_matches("/user/").to_owned();
        OpenPages { pages: hub::Pages::new(self.hub().await, filters, Some(order)), prefix }
    }
}

/// Our findings that are open, page by page.
pub struct OpenPages<'a> {
    pages: hub::Pages<'a>,
    /// What the ARNs of users begin with, before their pool.
    prefix: String,
}

impl OpenPages<'_> {
    /// The next page; `None` after the last one.
    ///
    /// # Errors
    /// As Security Hub said it.
    pub async fn next(&mut self) -> Result<Option<Vec<Open>>> {
        let page = self.pages.next().await.map_err(|error| error.context("open findings"))?;
        Ok(page.map(|page| page.into_iter().filter_map(|finding| self.user(&finding)).collect()))
    }

    /// What can't be read as one of ours was not written by us.
    fn user(&self, finding: &Decoded) -> Option<Open> {
        let Decoded::Finding(finding) = finding else { return None };
        let user = finding.resources.first()?.id.strip_prefix(&self.prefix)?;
        let (pool, sub) = user.split_once("/user/")?;
        Some(Open { pool: pool.to_owned(), sub: sub.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn our_own_finding_is_one_that_we_believe_and_names_nobody() {
        let home = Home::of_function("arn:aws:lambda:eu-west-1:123456789012:function:redress").unwrap();
        let at: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        let row = Row::seen(
            "eu-west-1_AbC123",
            "0b7d5c1e-6a2f-4c55-9c3e-2f1f6a7d8e90",
            "mary@example.com",
            "x",
            "2026-08-01T00:00:00Z".parse().unwrap(),
        );
        let finding = Inactive::new(&home, &row, Says::Inactive(SignedDuration::from_hours(24 * 90)), at);
        let text = finding.asff().to_string();
        assert!(!text.contains("mary") && !text.contains("example"), "{text}");
        let Decoded::Finding(decoded) = decode_many(text.as_bytes()).unwrap().remove(0) else {
            panic!("not decoded")
        };
        decoded.authenticity().unwrap();
        decoded.actionable(true).unwrap();
        assert_eq!(decoded.control.as_str(), INACTIVE_USER);
        let over = Inactive::new(&home, &row, Says::Over, at);
        assert_eq!(over.id, finding.id);
        let Decoded::Finding(decoded) = decode_many(over.asff().to_string().as_bytes()).unwrap().remove(0)
        else {
            panic!("not decoded")
        };
        assert!(decoded.actionable(true).is_err());
    }

    #[test]
    fn a_function_arn_says_where_it_is() {
        for text in
            ["", "arn:aws:lambda", "arn:aws:s3:eu-west-1:1:x", "arn:aws:lambda::123456789012:function:x"]
        {
            assert_eq!(Home::of_function(text), None, "{text}");
        }
    }
}
