//! Launch templates: their versions, and which is the default.
//!
//! A version knows the image, the type, user data, security groups, block devices by snapshot and size, and
//! metadata options; any other parameter is refused. A version made from another one takes over its
//! parameters, each as a whole, [save for the snapshots of block
//! devices](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplateVersion.html).

use std::collections::BTreeMap;

use super::compute::METADATA;
use super::{Answer, Network, Tags, invalid, page, required, select, tag_filter, tag_items, tags_for};
use crate::emulator::wire::{Form, Refusal, Xml, short_id};

pub(super) struct Template {
    name: String,
    default: u64,
    versions: BTreeMap<u64, Version>,
    /// The version that each client token has made.
    tokens: BTreeMap<String, u64>,
    pub(super) tags: Tags,
}

#[derive(Clone)]
struct Version {
    description: Option<String>,
    /// Launch parameters as requests name them: `MetadataOptions.HttpTokens`.
    data: Data,
}

type Data = BTreeMap<String, String>;

/// The parameter that a member belongs to.
fn parameter(member: &str) -> &str {
    member.split('.').next().unwrap_or(member)
}

fn data_of(form: &Form) -> Result<Data, Refusal> {
    const KNOWN: [&str; 6] =
        ["BlockDeviceMapping", "ImageId", "InstanceType", "MetadataOptions", "SecurityGroupId", "UserData"];
    let data = form.below("LaunchTemplateData");
    match data.keys().find(|member| !KNOWN.contains(&parameter(member))) {
        Some(member) => {
            let message = format!("The sandbox has no launch parameter `{member}`.");
            Err(invalid("UnsupportedOperation", message))
        }
        None => Ok(data),
    }
}

fn data_xml(data: &Data) -> Xml {
    let get = |name: &str| data.get(name);
    let numbered = |format: &dyn Fn(usize) -> String| -> Vec<usize> {
        (1..=data.len())
            .take_while(|number| data.keys().any(|member| member.starts_with(&format(*number))))
            .collect()
    };
    let devices = numbered(&|number| format!("BlockDeviceMapping.{number}.")).into_iter().map(|number| {
        let of = |name: &str| data.get(&format!("BlockDeviceMapping.{number}.{name}"));
        let ebs = Xml::default()
            .optional("snapshotId", of("Ebs.SnapshotId"))
            .optional("volumeSize", of("Ebs.VolumeSize"));
        Xml::default().optional("deviceName", of("DeviceName")).nested("ebs", &ebs)
    });
    let mut xml = Xml::default()
        .optional("imageId", get("ImageId"))
        .optional("instanceType", get("InstanceType"))
        .optional("userData", get("UserData"))
        .items("blockDeviceMappingSet", devices);
    let groups: Vec<String> = numbered(&|number| format!("SecurityGroupId.{number}"))
        .into_iter()
        .filter_map(|number| data.get(&format!("SecurityGroupId.{number}")).cloned())
        .map(|group| format!("<item>{}</item>", crate::emulator::wire::escape(&group)))
        .collect();
    if !groups.is_empty() {
        xml = xml.nested("securityGroupIdSet", &Xml::raw(groups.concat()));
    }
    if data.keys().any(|member| parameter(member) == "MetadataOptions") {
        let options = METADATA.iter().fold(Xml::default(), |xml, (name, shown, _)| {
            xml.optional(shown, get(&format!("MetadataOptions.{name}")))
        });
        xml = xml.nested("metadataOptions", &options);
    }
    xml
}

impl Network {
    fn template(&mut self, form: &Form) -> Result<(String, &mut Template), Refusal> {
        let id = if let Some(id) = form.get("LaunchTemplateId") {
            id.to_owned()
        } else {
            let name = required(form, "LaunchTemplateName")?;
            let found = self.templates.iter().find(|(_, template)| template.name == name);
            let missing = || {
                let message =
                    format!("The specified launch template, with template name {name}, does not exist.");
                invalid("InvalidLaunchTemplateName.NotFoundException", message)
            };
            found.map(|(id, _)| id.clone()).ok_or_else(missing)?
        };
        match self.templates.get_mut(&id) {
            Some(template) => Ok((id, template)),
            None => Err(missing(&id)),
        }
    }

    pub(super) fn create_template(&mut self, form: &Form) -> Answer {
        let name = required(form, "LaunchTemplateName")?.to_owned();
        if self.templates.values().any(|template| template.name == name) {
            let message = "Launch template name already in use.";
            return Err(invalid("InvalidLaunchTemplateName.AlreadyExistsException", message));
        }
        let id = format!("lt-{}", short_id());
        let description = form.get("VersionDescription").map(ToOwned::to_owned);
        let first = Version { description, data: data_of(form)? };
        let template = Template {
            name,
            default: 1,
            versions: BTreeMap::from([(1, first)]),
            tokens: BTreeMap::new(),
            tags: tags_for(form, "launch-template"),
        };
        let xml = template.xml(&id);
        self.templates.insert(id, template);
        Ok(Xml::default().nested("launchTemplate", &xml))
    }

    pub(super) fn describe_templates(&self, form: &Form) -> Answer {
        if let Some(id) = form.list("LaunchTemplateId").iter().find(|id| !self.templates.contains_key(**id)) {
            return Err(missing(id));
        }
        let found =
            select(form, "LaunchTemplateId", &self.templates, "", "", |name, _, template| match name {
                "launch-template-name" => vec![template.name.clone()],
                _ => tag_filter(name, &template.tags),
            })?;
        let (page, next) = page(form, found)?;
        let items = page.into_iter().map(|(id, template)| template.xml(id));
        Ok(Xml::default().items("launchTemplates", items).optional("nextToken", next))
    }

    pub(super) fn describe_template_versions(&mut self, form: &Form) -> Answer {
        let (id, template) = self.template(form)?;
        let asked = form
            .list("LaunchTemplateVersion")
            .into_iter()
            .map(|version| template.number(&id, version))
            .collect::<Result<Vec<_>, _>>()?;
        let found: Vec<u64> =
            if asked.is_empty() { template.versions.keys().rev().copied().collect() } else { asked };
        let (page, next) = page(form, found)?;
        let items: Vec<Xml> = page.into_iter().map(|number| template.version_xml(&id, number)).collect();
        Ok(Xml::default().items("launchTemplateVersionSet", items).optional("nextToken", next))
    }

    pub(super) fn create_template_version(&mut self, form: &Form) -> Answer {
        let given = data_of(form)?;
        let (id, template) = self.template(form)?;
        let token = form.get("ClientToken").map(ToOwned::to_owned);
        let known = token.as_ref().and_then(|token| template.tokens.get(token)).copied();
        let number = if let Some(number) = known {
            number
        } else {
            let mut data = match form.get("SourceVersion") {
                None => Data::new(),
                Some(source) => {
                    let source = template.number(&id, source)?;
                    template.versions.get(&source).map(|version| version.data.clone()).unwrap_or_default()
                }
            };
            data.retain(|member, _| {
                !member.ends_with(".Ebs.SnapshotId")
                    && !given.keys().any(|given| parameter(given) == parameter(member))
            });
            data.extend(given);
            let number = template.latest() + 1;
            let description = form.get("VersionDescription").map(ToOwned::to_owned);
            template.versions.insert(number, Version { description, data });
            template.tokens.extend(token.map(|token| (token, number)));
            number
        };
        Ok(Xml::default().nested("launchTemplateVersion", &template.version_xml(&id, number)))
    }

    pub(super) fn modify_template(&mut self, form: &Form) -> Answer {
        let (id, template) = self.template(form)?;
        template.default = template.number(&id, required(form, "SetDefaultVersion")?)?;
        Ok(Xml::default().nested("launchTemplate", &template.xml(&id)))
    }
}

impl Template {
    fn latest(&self) -> u64 {
        self.versions.keys().next_back().copied().unwrap_or_default()
    }

    fn number(&self, id: &str, version: &str) -> Result<u64, Refusal> {
        let number = match version {
            "$Default" => Some(self.default),
            "$Latest" => Some(self.latest()),
            number => number.parse().ok(),
        };
        number.filter(|number| self.versions.contains_key(number)).ok_or_else(|| {
            let message = format!(
                "Could not find the specified version {version} for the launch template with ID {id}."
            );
            invalid("InvalidLaunchTemplateId.VersionNotFound", message)
        })
    }

    fn xml(&self, id: &str) -> Xml {
        Xml::default()
            .text("launchTemplateId", id)
            .text("launchTemplateName", &self.name)
            .text("defaultVersionNumber", self.default)
            .text("latestVersionNumber", self.latest())
            .items("tagSet", tag_items(&self.tags))
    }

    fn version_xml(&self, id: &str, number: u64) -> Xml {
        let Some(version) = self.versions.get(&number) else { return Xml::default() };
        Xml::default()
            .text("launchTemplateId", id)
            .text("launchTemplateName", &self.name)
            .text("versionNumber", number)
            .optional("versionDescription", version.description.as_ref())
            .text("defaultVersion", number == self.default)
            .nested("launchTemplateData", &data_xml(&version.data))
    }
}

fn missing(id: &str) -> Refusal {
    let message = format!("The specified launch template, with template ID {id}, does not exist.");
    invalid("InvalidLaunchTemplateId.NotFound", message)
}
