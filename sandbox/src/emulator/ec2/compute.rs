//! Instances, as far as their metadata options go, and what an account has set for a Region: encryption of
//! new volumes, public snapshots.
//!
//! Nothing is booted: an instance runs as soon as it is asked for, stops and terminates at once. A change of
//! metadata options is `pending` at the first look at a running instance after it, and `applied` from the
//! second on; of a stopped one it stays pending, as AWS
//! [says](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyInstanceMetadataOptions.html).

use std::collections::BTreeMap;

use super::{
    Answer, Network, Tags, invalid, not_found, page, required, select, tag_filter, tag_items, tags_for,
};
use crate::emulator::wire::{Form, Refusal, Xml, short_id};

/// What this part of EC2 holds.
#[derive(Default)]
pub(super) struct Compute {
    encrypts_by_default: bool,
    /// The block of public snapshots, where there is one.
    pub(super) snapshot_block: Option<String>,
    instances: BTreeMap<String, Instance>,
}

struct Instance {
    image: String,
    kind: String,
    state: &'static str,
    metadata: BTreeMap<&'static str, String>,
    /// Whether the metadata options are not applied yet.
    pending: bool,
    tags: Tags,
}

/// The metadata options by their names in requests, those in answers, and what AWS sets where nothing is said.
pub(super) const METADATA: [(&str, &str, &str); 5] = [
    ("HttpTokens", "httpTokens", "optional"),
    ("HttpPutResponseHopLimit", "httpPutResponseHopLimit", "1"),
    ("HttpEndpoint", "httpEndpoint", "enabled"),
    ("HttpProtocolIpv6", "httpProtocolIpv6", "disabled"),
    ("InstanceMetadataTags", "instanceMetadataTags", "disabled"),
];

/// The [codes](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceState.html) of states.
fn code(state: &str) -> u8 {
    match state {
        "running" => 16,
        "terminated" => 48,
        "stopped" => 80,
        _ => 0,
    }
}

impl Compute {
    pub(super) fn tags(&mut self) -> impl Iterator<Item = (String, (&'static str, &mut Tags))> {
        self.instances.iter_mut().map(|(id, instance)| (id.clone(), ("instance", &mut instance.tags)))
    }

    fn instance(&mut self, id: &str) -> Result<&mut Instance, Refusal> {
        self.instances.get_mut(id).ok_or_else(|| not_found("InvalidInstanceID.NotFound", "instance ID", id))
    }
}

impl Network {
    pub(super) fn default_encryption(&mut self, set: Option<bool>) -> Xml {
        if let Some(enabled) = set {
            self.compute.encrypts_by_default = enabled;
        }
        Xml::default().text("ebsEncryptionByDefault", self.compute.encrypts_by_default)
    }

    pub(super) fn snapshot_block(&self) -> Xml {
        let state = self.compute.snapshot_block.as_deref().unwrap_or("unblocked");
        Xml::default().text("state", state).text("managedBy", "account")
    }

    pub(super) fn block_public_snapshots(&mut self, state: Option<&str>) -> Answer {
        if let Some(state) = state
            && !matches!(state, "block-all-sharing" | "block-new-sharing")
        {
            let message = format!("Value ({state}) for parameter State is invalid.");
            return Err(invalid("InvalidParameterValue", message));
        }
        self.compute.snapshot_block = state.map(ToOwned::to_owned);
        Ok(Xml::default().text("state", state.unwrap_or("unblocked")))
    }

    pub(super) fn run_instances(&mut self, form: &Form) -> Answer {
        let options = METADATA.map(|(name, _, default)| {
            let asked = form.get(&format!("MetadataOptions.{name}"));
            (name, asked.unwrap_or(default).to_owned())
        });
        let instance = || -> Result<Instance, Refusal> {
            Ok(Instance {
                image: required(form, "ImageId")?.to_owned(),
                kind: form.get("InstanceType").unwrap_or("m1.small").to_owned(),
                state: "running",
                metadata: options.clone().into(),
                pending: false,
                tags: tags_for(form, "instance"),
            })
        };
        let count = form.get("MaxCount").and_then(|count| count.parse().ok()).unwrap_or(1);
        let mut made = Vec::new();
        for _ in 0..count {
            let id = format!("i-{}", short_id());
            let instance = instance()?;
            made.push(Self::instance_xml(&id, &instance));
            self.compute.instances.insert(id, instance);
        }
        Ok(Xml::default()
            .text("reservationId", format!("r-{}", short_id()))
            .text("ownerId", &self.account)
            .items("instancesSet", made))
    }

    fn instance_xml(id: &str, instance: &Instance) -> Xml {
        let state = Xml::default().text("code", code(instance.state)).text("name", instance.state);
        let xml = Xml::default()
            .text("instanceId", id)
            .text("imageId", &instance.image)
            .nested("instanceState", &state)
            .text("instanceType", &instance.kind)
            .items("tagSet", tag_items(&instance.tags));
        // What is terminated has no options any more.
        if instance.state == "terminated" { xml } else { xml.nested("metadataOptions", &instance.options()) }
    }

    pub(super) fn describe_instances(&mut self, form: &Form) -> Answer {
        let code = "InvalidInstanceID.NotFound";
        let instances = &self.compute.instances;
        let found =
            select(form, "InstanceId", instances, code, "instance ID", |name, id, instance| match name {
                "instance-id" => vec![id.to_owned()],
                "instance-state-name" => vec![instance.state.to_owned()],
                _ => tag_filter(name, &instance.tags),
            })?;
        let (page, next) = page(form, found)?;
        let seen: Vec<String> = page.iter().map(|(id, _)| (*id).to_owned()).collect();
        let items: Vec<Xml> = page
            .into_iter()
            .map(|(id, instance)| {
                Xml::default()
                    .text("reservationId", id.replacen('i', "r", 1))
                    .text("ownerId", &self.account)
                    .items("instancesSet", [Self::instance_xml(id, instance)])
            })
            .collect();
        for id in seen {
            if let Some(instance) = self.compute.instances.get_mut(&id)
                && instance.state == "running"
            {
                instance.pending = false;
            }
        }
        Ok(Xml::default().items("reservationSet", items).optional("nextToken", next))
    }

    pub(super) fn set_instance_state(&mut self, form: &Form, state: &'static str) -> Answer {
        let mut changed = Vec::new();
        for id in form.list("InstanceId") {
            let instance = self.compute.instance(id)?;
            if instance.state == "terminated" && state != "terminated" {
                let message = format!("The instance '{id}' is not in a state from which it can be {state}.");
                return Err(invalid("IncorrectInstanceState", message));
            }
            let was = std::mem::replace(&mut instance.state, state);
            let named = |state| Xml::default().text("code", code(state)).text("name", state);
            changed.push(
                Xml::default()
                    .text("instanceId", id)
                    .nested("currentState", &named(state))
                    .nested("previousState", &named(was)),
            );
        }
        Ok(Xml::default().items("instancesSet", changed))
    }

    pub(super) fn modify_metadata_options(&mut self, form: &Form) -> Answer {
        let id = required(form, "InstanceId")?;
        let instance = self.compute.instance(id)?;
        if instance.state == "terminated" {
            let message = format!("The instance '{id}' is not in a state from which it can be modified.");
            return Err(invalid("IncorrectInstanceState", message));
        }
        for (name, _, _) in METADATA {
            if let Some(value) = form.get(name) {
                instance.metadata.insert(name, value.to_owned());
            }
        }
        instance.pending = true;
        let options = instance.options();
        Ok(Xml::default().text("instanceId", id).nested("instanceMetadataOptions", &options))
    }
}

impl Instance {
    fn options(&self) -> Xml {
        let state = if self.pending { "pending" } else { "applied" };
        METADATA.iter().fold(Xml::default().text("state", state), |xml, (name, shown, _)| {
            xml.optional(shown, self.metadata.get(name))
        })
    }
}
