//! Provisioned Redshift clusters.

use aws_sdk_redshift::types::Cluster as Described;

use crate::{
    Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, action::On,
    resource::is_dashed, text::shown,
};

/// A cluster, by its name.
pub(crate) struct Cluster {
    pub(crate) name: String,
}

impl Resource for Cluster {
    const KIND: KindInfo = KindInfo {
        what: "a Redshift cluster",
        asff: "AwsRedshiftCluster",
        cfn: "AWS::Redshift::Cluster",
        arn: "arn:{partition}:redshift:{region}:{account}:cluster:{id}",
        reads: &[Action::new("redshift:DescribeClusters", On::Resource)],
        longest_id: 63,
    };

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        // https://docs.aws.amazon.com/redshift/latest/APIReference/API_CreateCluster.html (ClusterIdentifier)
        Self::KIND.check(key, is_dashed(&key.id, Self::KIND.longest_id))?;
        Ok(Self { name: key.id.clone() })
    }

    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        // A name finds the session's own clusters in this Region only.
        let tags = self.describe(aws).await?.tags.unwrap_or_default().into_iter();
        let text = Option::unwrap_or_default;
        Ok(Facts { tags: Some(tags.map(|tag| (text(tag.key), text(tag.value))).collect()) })
    }
}

impl Cluster {
    /// The cluster as it is.
    pub(crate) async fn describe(&self, aws: &Aws) -> Result<Described> {
        let found = aws.redshift().describe_clusters().cluster_identifier(&self.name).send().await?;
        let named = |one: &Described| one.cluster_identifier() == Some(&self.name);
        found.clusters.unwrap_or_default().into_iter().find(named).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("Redshift lists no cluster `{}`", self.name))
        })
    }
}

/// Whether a cluster in this status can be changed: `None` if so, else the status that has to be ended first.
/// <https://docs.aws.amazon.com/redshift/latest/mgmt/rs-mgmt-cluster-status.html>
pub(super) fn unfit(status: Option<&str>) -> Result<Option<String>> {
    let status = status.ok_or_else(|| Error::unsaid("what status the cluster is in"))?;
    match status {
        "available" => Ok(None),
        "available, prep-for-resize"
        | "available, resize-cleanup"
        | "cancelling-resize"
        | "creating"
        | "modifying"
        | "pausing"
        | "rebooting"
        | "renaming"
        | "resizing"
        | "resuming"
        | "rotating-keys"
        | "updating-hsm" => {
            let why = format!("the cluster is `{status}`, and can't be changed before that is over");
            Err(Error::new(ErrorKind::Transient, why))
        }
        "deleting" | "final-snapshot" => {
            Err(Error::new(ErrorKind::NotFound, format!("the cluster is `{status}`")))
        }
        other => Ok(Some(other.to_owned())),
    }
}

/// Why a cluster in that status is refused.
pub(super) fn refusal(status: &str) -> String {
    format!("the cluster is `{}`: Redshift changes only what is available", shown(status))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::Sighting;

    fn seen<'a>(id: &'a str, id_alt: Option<&'a str>) -> Sighting<'a> {
        Sighting {
            kind: "AwsRedshiftCluster",
            id,
            id_alt,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        }
    }

    #[test]
    fn both_formats_name_the_same_cluster() {
        let arn = "arn:aws:redshift:eu-west-1:123456789012:cluster:reports";
        let key = Cluster::locate(&seen(arn, None)).unwrap();
        assert_eq!(key.fill(Cluster::KIND.arn), arn);
        assert_eq!(Cluster::locate(&seen("reports", Some(arn))).unwrap(), key);
        assert_eq!(Cluster::locate(&seen("reports", None)).unwrap(), key);
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws:redshift:eu-west-1:999999999999:cluster:reports",
            "arn:aws:redshift:us-east-1:123456789012:cluster:reports",
            "arn:aws:redshift:eu-west-1:123456789012:snapshot:reports/x",
            "arn:aws:redshift:eu-west-1:123456789012:cluster:reports/x",
            "arn:aws:redshift-serverless:eu-west-1:123456789012:cluster:reports",
            "Reports",
            "reports-",
            "*",
            "",
        ] {
            assert!(Cluster::locate(&seen(id, None)).is_err(), "{id}");
        }
        assert!(Cluster::locate(&Sighting { region: "global", ..seen("reports", None) }).is_err());
    }
}
