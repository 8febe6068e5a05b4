//! Takes an EBS snapshot back from everybody.

use aws_sdk_ec2::types::{
    CreateVolumePermission, CreateVolumePermissionModifications, PermissionGroup, SnapshotAttributeName,
};

use super::snapshot::{Snapshot, restorable_by_everybody};
use crate::{
    prelude::*,
    shared_snapshot::{self, Sharing},
};

pub(crate) struct UnshareSnapshot;

impl Remediator for UnshareSnapshot {
    const SPEC: Spec = Spec {
        name: "ec2.unshare_snapshot",
        version: 1,
        controls: &["EC2.1"],
        risk: Risk::Access,
        what: "Takes an EBS snapshot back from everybody: other AWS accounts can no longer copy it or make volumes of \
               it. Accounts that it is shared with by their numbers keep their access. A finding of the account \
               stands for each of its snapshots in that Region that everybody may restore.",
        who_notices: "Whoever copies the snapshot, makes volumes of it or starts instances from an image with it, \
                      from an account that it is not shared with by its number. What they have made of it already \
                      stays theirs.",
        way_back: "Shares it with everybody again. Where the account blocks public sharing of snapshots by then, \
                   AWS refuses that.",
        reads: &[Action::new("ec2:DescribeSnapshotAttribute", On::Resource)],
        writes: &[Action::new("ec2:ModifySnapshotAttribute", On::Resource)],
        undo: &[],
        implied: &[],
    };
    // "AWS::::Account": https://docs.aws.amazon.com/securityhub/latest/userguide/ec2-controls.html#ec2-1
    const OF_ACCOUNT: bool = true;
    type Resource = Snapshot;
    type Params = NoParams;
    type State = Sharing;

    async fn members(aws: &Aws) -> Result<Vec<String>> {
        restorable_by_everybody(aws).await
    }

    async fn observe(aws: &Aws, at: &Snapshot) -> Result<Sharing> {
        let request = aws.ec2().describe_snapshot_attribute().snapshot_id(&at.id);
        let found = request.attribute(SnapshotAttributeName::CreateVolumePermission).send().await?;
        let permissions = found
            .create_volume_permissions
            .ok_or_else(|| Error::unsaid("who may make volumes of the snapshot"))?;
        Ok(Sharing {
            public: permissions.iter().any(|one| one.group.as_ref() == Some(&PermissionGroup::All)),
        })
    }

    fn plan(now: &Sharing, _: &Ask<'_, NoParams>) -> Plan<Sharing> {
        shared_snapshot::plan(now)
    }

    async fn apply(aws: &Aws, at: &Snapshot, change: &Change<Sharing>) -> Result<()> {
        let everybody = CreateVolumePermission::builder().group(PermissionGroup::All).build();
        let permission = CreateVolumePermissionModifications::builder();
        let permission =
            if change.to.public { permission.add(everybody) } else { permission.remove(everybody) };
        let request = aws.ec2().modify_snapshot_attribute().snapshot_id(&at.id);
        request
            .attribute(SnapshotAttributeName::CreateVolumePermission)
            .create_volume_permission(permission.build())
            .send()
            .await?;
        Ok(())
    }

    fn undo(change: &Change<Sharing>, now: &Sharing) -> Undo<Sharing> {
        shared_snapshot::undo(change, now)
    }
}

#[cfg(all(test, feature = "s3"))]
mod wire {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::{Access, Resource as _, raw::test::Wire};

    const PUBLIC: Sharing = Sharing { public: true };
    const PRIVATE: Sharing = Sharing { public: false };
    const ID: &str = "snap-0123456789abcdef0";

    fn wire(answers: &[(&'static str, &str)]) -> (Wire, Aws) {
        let wire = Wire::default();
        for (to, xml) in answers {
            wire.answer(to, (200, Vec::new(), (*xml).to_owned()));
        }
        let aws = wire.aws(&UnshareSnapshot, Access::Apply);
        (wire, aws)
    }

    fn at() -> Snapshot {
        let key = format!("aws/123456789012/eu-west-1/AwsEc2Snapshot/{ID}");
        Snapshot::from_key(&key.parse().unwrap()).unwrap()
    }

    /// Everybody's public snapshots are described to everybody, and an ARN of one names no account.
    #[tokio::test]
    async fn the_owner_is_the_one_that_ec2_names() {
        const DESCRIBE: &str = "POST / Action=DescribeSnapshots&Version=2016-11-15&SnapshotId.1=";
        let described = |owner: &str| {
            format!(
                "<DescribeSnapshotsResponse><snapshotSet><item><snapshotId>{ID}</snapshotId>{owner}<tagSet><item>\
                 <key>Name</key><value>orders</value></item></tagSet></item></snapshotSet>\
                 </DescribeSnapshotsResponse>"
            )
        };
        let (_, aws) = wire(&[(DESCRIBE, &described("<ownerId>123456789012</ownerId>"))]);
        let facts = at().inspect(&aws, true).await.unwrap();
        assert_eq!(facts.tags, Some(vec![("Name".to_owned(), "orders".to_owned())]));
        for (owner, said) in [("<ownerId>999999999999</ownerId>", "`999999999999`"), ("", "`nobody named`")] {
            let (_, aws) = wire(&[(DESCRIBE, &described(owner))]);
            let error = at().inspect(&aws, true).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Rejected, "{error}");
            assert!(error.message.contains(said) && error.message.contains("123456789012"), "{error}");
        }
        let none = "<DescribeSnapshotsResponse><snapshotSet/></DescribeSnapshotsResponse>";
        let (_, aws) = wire(&[(DESCRIBE, none)]);
        assert_eq!(at().inspect(&aws, true).await.unwrap_err().kind, ErrorKind::NotFound);
    }

    /// An account may have more than one page of them; an answer without a list is none that is empty.
    #[tokio::test]
    async fn every_page_is_read() {
        const FIRST: &str = "POST / Action=DescribeSnapshots&Version=2016-11-15&MaxResults=1000&Owner.1=self&\
                             RestorableBy.1=all";
        const SECOND: &str = "POST / Action=DescribeSnapshots&Version=2016-11-15&MaxResults=1000&NextToken=second&Owner.1=self&\
             RestorableBy.1=all";
        let page = |ids: &[&str], rest: &str| {
            let one = |id: &&str| format!("<item><snapshotId>{id}</snapshotId></item>");
            let items: String = ids.iter().map(one).collect();
            format!(
                "<DescribeSnapshotsResponse><snapshotSet>{items}</snapshotSet>{rest}</DescribeSnapshotsResponse>"
            )
        };
        let more = "<nextToken>second</nextToken>";
        let list = async |first: &str, second: &str| {
            let (_, aws) = wire(&[(FIRST, first), (SECOND, second)]);
            UnshareSnapshot::members(&aws).await
        };
        let two = page(&["snap-0000000b"], "");
        assert_eq!(
            list(&page(&["snap-0000000a"], more), &two).await.unwrap(),
            ["snap-0000000a", "snap-0000000b"]
        );
        assert_eq!(list(&page(&[], more), &two).await.unwrap(), ["snap-0000000b"], "a page may be empty");
        assert!(list(&page(&[], ""), "").await.unwrap().is_empty());
        let unsaid = "<DescribeSnapshotsResponse></DescribeSnapshotsResponse>";
        let nameless =
            "<DescribeSnapshotsResponse><snapshotSet><item/></snapshotSet></DescribeSnapshotsResponse>";
        for (first, second) in
            [(unsaid, two.as_str()), (&page(&["snap-0000000a"], more), unsaid), (nameless, "")]
        {
            assert_eq!(list(first, second).await.unwrap_err().kind, ErrorKind::Rejected, "{first} {second}");
        }
    }

    #[tokio::test]
    async fn nobody_but_everybody_is_named_in_a_change() {
        let done = "<ModifySnapshotAttributeResponse><return>true</return></ModifySnapshotAttributeResponse>";
        for (to, operation) in [(PRIVATE, "Remove"), (PUBLIC, "Add")] {
            let (wire, aws) = wire(&[("POST / Action=ModifySnapshotAttribute", done)]);
            let from = Sharing { public: !to.public };
            UnshareSnapshot::apply(&aws, &at(), &Change { from, to }).await.unwrap();
            let sent = wire.sent();
            let expected = format!(
                "Action=ModifySnapshotAttribute&Version=2016-11-15&Attribute=createVolumePermission&\
                 CreateVolumePermission.{operation}.1.Group=all&SnapshotId={ID}"
            );
            assert_eq!(sent.iter().map(|sent| sent.body.as_str()).collect::<Vec<_>>(), [expected]);
        }
    }

    #[tokio::test]
    async fn an_answer_without_permissions_is_not_one_without_everybody() {
        let answer = |permissions: &str| {
            format!("<DescribeSnapshotAttributeResponse>{permissions}</DescribeSnapshotAttributeResponse>")
        };
        let observe = async |permissions: &str| {
            let (_, aws) = wire(&[("POST / Action=DescribeSnapshotAttribute", &answer(permissions))]);
            UnshareSnapshot::observe(&aws, &at()).await
        };
        assert_eq!(observe("<createVolumePermission/>").await.unwrap(), PRIVATE);
        let shared = |who| format!("<createVolumePermission><item>{who}</item></createVolumePermission>");
        assert_eq!(observe(&shared("<userId>210987654321</userId>")).await.unwrap(), PRIVATE);
        assert_eq!(observe(&shared("<group>all</group>")).await.unwrap(), PUBLIC);
        assert_eq!(observe("").await.unwrap_err().kind, ErrorKind::Rejected);
    }
}
