//! EBS snapshots, by who may make volumes of them.
//!
//! There is no data in them, and their volumes are not looked up: each is `completed` at once. Those of other accounts
//! in the same Region are listed as far as they are shared, as on AWS, and can't be changed.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Answer, Network, Tags, invalid, not_found, page, required, select, tag_filter, tag_items, tags_for,
};
use crate::emulator::wire::{Form, Refusal, Xml, short_id};

/// What a snapshot's permissions call everybody.
const EVERYBODY: &str = "all";

/// The snapshots of one account and Region.
#[derive(Default)]
pub(super) struct Snapshots {
    own: BTreeMap<String, Snapshot>,
    /// Those of other accounts, of which something may be seen. Looked up anew before each operation.
    pub(super) others: BTreeMap<String, Snapshot>,
}

#[derive(Clone)]
pub(super) struct Snapshot {
    owner: String,
    volume: String,
    description: String,
    /// Who may make volumes of it besides: numbers of accounts, and everybody.
    may_restore: BTreeSet<String>,
    tags: Tags,
}

impl Snapshots {
    pub(super) fn tags(&mut self) -> impl Iterator<Item = (String, (&'static str, &mut Tags))> {
        self.own.iter_mut().map(|(id, snapshot)| (id.clone(), ("snapshot", &mut snapshot.tags)))
    }

    /// Those that this account may see.
    pub(super) fn shared_with<'a>(
        &'a self,
        account: &'a str,
    ) -> impl Iterator<Item = (String, Snapshot)> + use<'a> {
        let shared =
            move |one: &Snapshot| [EVERYBODY, account].iter().any(|who| one.may_restore.contains(*who));
        // Its tags are its owner's own.
        let seen = |one: &Snapshot| Snapshot { tags: Tags::new(), ..one.clone() };
        self.own.iter().filter(move |(_, one)| shared(one)).map(move |(id, one)| (id.clone(), seen(one)))
    }

    fn own(&mut self, id: &str) -> Result<&mut Snapshot, Refusal> {
        if self.others.contains_key(id) {
            return Err(Refusal::new(403, "AuthFailure", format!("Not authorized for snapshot:{id}")));
        }
        self.own.get_mut(id).ok_or_else(|| not_found("InvalidSnapshot.NotFound", "snapshot", id))
    }
}

/// Carries out an operation of this part of EC2; `None` for any other.
pub(super) fn perform(network: &mut Network, operation: &str, form: &Form) -> Option<Answer> {
    Some(match operation {
        "CreateSnapshot" => network.create_snapshot(form),
        "DeleteSnapshot" => network.delete_snapshot(form),
        "DescribeSnapshots" => network.describe_snapshots(form),
        "DescribeSnapshotAttribute" => network.describe_snapshot_attribute(form),
        "ModifySnapshotAttribute" => network.modify_snapshot_attribute(form),
        "ResetSnapshotAttribute" => network.reset_snapshot_attribute(form),
        _ => return None,
    })
}

impl Network {
    fn create_snapshot(&mut self, form: &Form) -> Answer {
        let id = format!("snap-{}", short_id());
        let snapshot = Snapshot {
            owner: self.account.clone(),
            volume: required(form, "VolumeId")?.to_owned(),
            description: form.get("Description").unwrap_or_default().to_owned(),
            may_restore: BTreeSet::new(),
            tags: tags_for(form, "snapshot"),
        };
        let xml = snapshot_xml(&id, &snapshot);
        self.snapshots.own.insert(id, snapshot);
        Ok(xml)
    }

    fn delete_snapshot(&mut self, form: &Form) -> Answer {
        let id = required(form, "SnapshotId")?;
        self.snapshots.own(id)?;
        self.snapshots.own.remove(id);
        Ok(Xml::default().text("return", true))
    }

    /// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSnapshots.html>
    fn describe_snapshots(&self, form: &Form) -> Answer {
        let mut all = self.snapshots.own.clone();
        all.extend(self.snapshots.others.clone());
        let (code, what) = ("InvalidSnapshot.NotFound", "snapshot");
        let mut found = select(form, "SnapshotId", &all, code, what, |name, id, snapshot| match name {
            "snapshot-id" => vec![id.to_owned()],
            "owner-id" => vec![snapshot.owner.clone()],
            "volume-id" => vec![snapshot.volume.clone()],
            "status" => vec!["completed".to_owned()],
            "description" => vec![snapshot.description.clone()],
            _ => tag_filter(name, &snapshot.tags),
        })?;
        let of_account = |named: &str| if named == "self" { self.account.clone() } else { named.to_owned() };
        let owners: Vec<String> = form.list("Owner").into_iter().map(of_account).collect();
        let restorable: Vec<String> = form.list("RestorableBy").into_iter().map(of_account).collect();
        found.retain(|(_, one)| {
            let by = |who: &String| *who == one.owner || one.may_restore.contains(who);
            (owners.is_empty() || owners.contains(&one.owner))
                && (restorable.is_empty() || restorable.iter().any(by))
        });
        let (page, next) = page(form, found)?;
        let items = page.into_iter().map(|(id, snapshot)| snapshot_xml(id, snapshot));
        Ok(Xml::default().items("snapshotSet", items).optional("nextToken", next))
    }

    fn describe_snapshot_attribute(&mut self, form: &Form) -> Answer {
        let id = required(form, "SnapshotId")?;
        let attribute = required(form, "Attribute")?;
        let snapshot = self.snapshots.own(id)?;
        let xml = Xml::default().text("snapshotId", id);
        if attribute != "createVolumePermission" {
            return Ok(xml.items("productCodes", []));
        }
        let items = snapshot.may_restore.iter().map(|who| {
            let name = if who == EVERYBODY { "group" } else { "userId" };
            Xml::default().text(name, who)
        });
        Ok(xml.items("createVolumePermission", items))
    }

    /// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifySnapshotAttribute.html>, in both of its forms.
    fn modify_snapshot_attribute(&mut self, form: &Form) -> Answer {
        let id = required(form, "SnapshotId")?;
        let blocked = self.compute.snapshot_block.is_some();
        let mut added = who(form, "CreateVolumePermission.Add")?;
        let mut removed = who(form, "CreateVolumePermission.Remove")?;
        let listed = form.list("UserGroup").into_iter().chain(form.list("UserId")).map(ToOwned::to_owned);
        match form.get("OperationType") {
            Some("add") => added.extend(listed),
            Some("remove") => removed.extend(listed),
            _ => {}
        }
        if added.is_empty() == removed.is_empty() {
            let message = "Specify accounts or groups either to add or to remove";
            return Err(invalid("InvalidParameterCombination", message));
        }
        let snapshot = self.snapshots.own(id)?;
        // AWS's page says that it is refused, not in which words:
        // https://docs.aws.amazon.com/ebs/latest/userguide/block-public-access-snapshots.html
        if blocked && added.contains(EVERYBODY) {
            let message = "Public sharing of snapshots is blocked in this Region by block public access.";
            return Err(invalid("OperationNotPermitted", message));
        }
        snapshot.may_restore.retain(|who| !removed.contains(who));
        snapshot.may_restore.extend(added);
        Ok(Xml::default().text("return", true))
    }

    fn reset_snapshot_attribute(&mut self, form: &Form) -> Answer {
        let id = required(form, "SnapshotId")?;
        required(form, "Attribute")?;
        self.snapshots.own(id)?.may_restore.clear();
        Ok(Xml::default().text("return", true))
    }
}

/// The accounts and groups of a list of permissions.
fn who(form: &Form, list: &str) -> Result<BTreeSet<String>, Refusal> {
    let mut all = BTreeSet::new();
    for permission in form.structures(list) {
        match (permission.get("Group"), permission.get("UserId")) {
            (Some(EVERYBODY), None) => all.insert(EVERYBODY.to_owned()),
            (None, Some(account)) => all.insert(account.to_owned()),
            _ => {
                let message = "Invalid attribute item value: it is an account's number, or the group all";
                return Err(invalid("InvalidParameterValue", message));
            }
        };
    }
    Ok(all)
}

fn snapshot_xml(id: &str, snapshot: &Snapshot) -> Xml {
    Xml::default()
        .text("snapshotId", id)
        .text("volumeId", &snapshot.volume)
        .text("status", "completed")
        .text("startTime", "2026-01-31T04:05:00.000Z")
        .text("progress", "100%")
        .text("ownerId", &snapshot.owner)
        .text("volumeSize", 8)
        .text("description", &snapshot.description)
        .text("encrypted", false)
        .items("tagSet", tag_items(&snapshot.tags))
        .text("storageTier", "standard")
}
