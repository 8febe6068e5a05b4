//! The part of EC2 that redress speaks of: VPCs, security groups, Elastic IPs and tags here, what else networks have in
//! [`network`], [instances](compute) and their [templates], and [`snapshots`] beside it.
//!
//! Our own, because winterbaume's security groups lose descriptions, tags and prefix lists, don't know
//! rules by id, and have no default group; its addresses read as an empty list once they are released, and
//! are released while in use. Any other operation is answered with `UnsupportedOperation`. Instances and
//! network interfaces can be named in an association, and are not looked up.

mod compute;
mod network;
mod snapshots;
mod templates;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;

use bytes::Bytes;
use http::Response;

use super::locked;
use super::wire::{Form, Refusal, Request, Xml, request_id, respond, short_id};

/// Rules of one direction and address family that a group may have
/// ([quota](https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html#vpc-limits-security-groups)).
const RULES_PER_GROUP: usize = 60;

type Tags = BTreeMap<String, String>;
type Answer = Result<Xml, Refusal>;

/// EC2 in every account and Region.
#[derive(Default)]
pub(super) struct Ec2(Mutex<HashMap<(String, String), Network>>);

/// EC2 in one account and Region.
#[derive(Default)]
struct Network {
    account: String,
    region: String,
    vpcs: BTreeMap<String, Vpc>,
    groups: BTreeMap<String, Group>,
    addresses: BTreeMap<String, Address>,
    compute: compute::Compute,
    templates: BTreeMap<String, templates::Template>,
    /// Addresses that were released, and are nobody's until somebody asks for them.
    released: BTreeSet<String>,
    allocated: u32,
    lan: network::Lan,
    snapshots: snapshots::Snapshots,
}

struct Vpc {
    cidr: String,
    tags: Tags,
}

struct Group {
    name: String,
    description: String,
    vpc: String,
    rules: Vec<Rule>,
    tags: Tags,
}

#[derive(Clone)]
struct Rule {
    id: String,
    egress: bool,
    match_: Match,
    description: Option<String>,
    tags: Tags,
}

/// What makes a rule the same as another.
#[derive(Clone, PartialEq, Eq)]
struct Match {
    protocol: String,
    from: i64,
    to: i64,
    peer: Peer,
}

#[derive(Clone, PartialEq, Eq)]
enum Peer {
    V4(String),
    V6(String),
    PrefixList(String),
    Group { group: String, account: String },
}

#[derive(Default)]
struct Address {
    ip: String,
    association: Option<Association>,
    reverse_dns: Option<String>,
    /// The account that the address is offered to.
    offered_to: Option<String>,
    tags: Tags,
}

#[derive(Clone)]
struct Association {
    id: String,
    instance: Option<String>,
    interface: Option<String>,
    private_ip: String,
}

impl Ec2 {
    /// Answers a request to EC2.
    pub(super) fn answer(&self, request: &Request, operation: &str) -> Response<Bytes> {
        let mut networks = locked(&self.0);
        let key = (request.account().to_owned(), request.region.clone());
        let of_others =
            networks.iter().filter(|((account, region), _)| *account != key.0 && *region == key.1);
        let others = of_others.flat_map(|(_, network)| network.snapshots.shared_with(&key.0)).collect();
        let network = networks.entry(key).or_insert_with(|| Network {
            account: request.account().to_owned(),
            region: request.region.clone(),
            ..Network::default()
        });
        network.snapshots.others = others;
        match network.perform(operation, &request.form) {
            Err(refusal) => refusal.response("ec2"),
            Ok(xml) => {
                let inner = Xml::default().text("requestId", request_id()).finish() + &xml.finish();
                let space = "http://ec2.amazonaws.com/doc/2016-11-15/";
                let body = format!("<{operation}Response xmlns=\"{space}\">{inner}</{operation}Response>");
                respond(200, "text/xml;charset=UTF-8", body)
            }
        }
    }
}

impl Network {
    fn perform(&mut self, operation: &str, form: &Form) -> Answer {
        if form.get("DryRun") == Some("true") {
            let message = "Request would have succeeded, but DryRun flag is set.";
            return Err(Refusal::new(412, "DryRunOperation", message));
        }
        match operation {
            "CreateVpc" => self.create_vpc(form),
            "DescribeVpcs" => self.describe_vpcs(form),
            "CreateSecurityGroup" => self.create_group(form),
            "DeleteSecurityGroup" => self.delete_group(form),
            "DescribeSecurityGroups" => self.describe_groups(form),
            "DescribeSecurityGroupRules" => self.describe_rules(form),
            "AuthorizeSecurityGroupIngress" => self.authorize(form, false),
            "AuthorizeSecurityGroupEgress" => self.authorize(form, true),
            "RevokeSecurityGroupIngress" => self.revoke(form, false),
            "RevokeSecurityGroupEgress" => self.revoke(form, true),
            "AllocateAddress" => self.allocate(form),
            "AssociateAddress" => self.associate(form),
            "DisassociateAddress" => self.disassociate(form),
            "DescribeAddresses" => self.describe_addresses(form),
            "ReleaseAddress" => self.release(form),
            "DescribeAddressesAttribute" => self.describe_reverse_dns(form),
            "ModifyAddressAttribute" => self.set_reverse_dns(form, form.get("DomainName")),
            "ResetAddressAttribute" => self.set_reverse_dns(form, None),
            "DescribeAddressTransfers" => self.describe_transfers(form),
            "EnableAddressTransfer" => {
                let to = required(form, "TransferAccountId")?;
                self.offer(form, Some(to))
            }
            "DisableAddressTransfer" => self.offer(form, None),
            "CreateTags" => self.tag(form, Tags::extend),
            "DeleteTags" => self.tag(form, |tags, given| {
                // No tag named means all of them.
                tags.retain(|key, _| !given.is_empty() && !given.contains_key(key));
            }),
            "DescribeTags" => self.describe_tags(form),
            "GetEbsEncryptionByDefault" => Ok(self.default_encryption(None)),
            "EnableEbsEncryptionByDefault" => Ok(self.default_encryption(Some(true))),
            "DisableEbsEncryptionByDefault" => Ok(self.default_encryption(Some(false))),
            "GetSnapshotBlockPublicAccessState" => Ok(self.snapshot_block()),
            "EnableSnapshotBlockPublicAccess" => self.block_public_snapshots(Some(required(form, "State")?)),
            "DisableSnapshotBlockPublicAccess" => self.block_public_snapshots(None),
            "RunInstances" => self.run_instances(form),
            "DescribeInstances" => self.describe_instances(form),
            "StopInstances" => self.set_instance_state(form, "stopped"),
            "TerminateInstances" => self.set_instance_state(form, "terminated"),
            "ModifyInstanceMetadataOptions" => self.modify_metadata_options(form),
            "CreateLaunchTemplate" => self.create_template(form),
            "DescribeLaunchTemplates" => self.describe_templates(form),
            "DescribeLaunchTemplateVersions" => self.describe_template_versions(form),
            "CreateLaunchTemplateVersion" => self.create_template_version(form),
            "ModifyLaunchTemplate" => self.modify_template(form),
            other => network::perform(self, other, form)
                .or_else(|| snapshots::perform(self, other, form))
                .unwrap_or_else(|| {
                    let message = format!("The sandbox has no operation `{other}` of EC2.");
                    Err(invalid("UnsupportedOperation", message))
                }),
        }
    }

    fn arn(&self, kind: &str, id: &str) -> String {
        let partition = crate::securityhub::partition(&self.region);
        format!("arn:{partition}:ec2:{}:{}:{kind}/{id}", self.region, self.account)
    }

    fn create_vpc(&mut self, form: &Form) -> Answer {
        let vpc = format!("vpc-{}", short_id());
        let cidr = required(form, "CidrBlock")?.to_owned();
        self.vpcs.insert(vpc.clone(), Vpc { cidr, tags: tags_for(form, "vpc") });
        self.lan.default_acl(&vpc);
        let id = self.add_group("default", "default VPC security group", &vpc, Tags::new());
        let from_itself = Match::all(Peer::Group { group: id.clone(), account: self.account.clone() });
        if let Some(group) = self.groups.get_mut(&id) {
            group.rules.push(Rule::new(false, from_itself, None, Tags::new()));
        }
        Ok(Xml::default().nested("vpc", &self.vpc_xml(&vpc)))
    }

    fn vpc_xml(&self, id: &str) -> Xml {
        let Some(vpc) = self.vpcs.get(id) else { return Xml::default() };
        Xml::default()
            .text("vpcId", id)
            .text("ownerId", &self.account)
            .text("state", "available")
            .text("cidrBlock", &vpc.cidr)
            .text("instanceTenancy", "default")
            .text("isDefault", false)
            .items("tagSet", tag_items(&vpc.tags))
    }

    fn describe_vpcs(&self, form: &Form) -> Answer {
        let found =
            select(
                form,
                "VpcId",
                &self.vpcs,
                "InvalidVpcID.NotFound",
                "vpc ID",
                |name, id, vpc| match name {
                    "vpc-id" => vec![id.to_owned()],
                    "cidr" => vec![vpc.cidr.clone()],
                    _ => tag_filter(name, &vpc.tags),
                },
            )?;
        Ok(Xml::default().items("vpcSet", found.into_iter().map(|(id, _)| self.vpc_xml(id))))
    }

    fn add_group(&mut self, name: &str, description: &str, vpc: &str, tags: Tags) -> String {
        let id = format!("sg-{}", short_id());
        let out = Rule::new(true, Match::all(Peer::V4("0.0.0.0/0".to_owned())), None, Tags::new());
        let group = Group {
            name: name.to_owned(),
            description: description.to_owned(),
            vpc: vpc.to_owned(),
            rules: vec![out],
            tags,
        };
        self.groups.insert(id.clone(), group);
        id
    }

    fn create_group(&mut self, form: &Form) -> Answer {
        let name = required(form, "GroupName")?;
        let description = required(form, "GroupDescription")?;
        let Some(vpc) = form.get("VpcId") else {
            return Err(invalid("VPCIdNotSpecified", "No default VPC for this user"));
        };
        if !self.vpcs.contains_key(vpc) {
            return Err(not_found("InvalidVpcID.NotFound", "vpc ID", vpc));
        }
        if self.groups.values().any(|group| group.name == name && group.vpc == vpc) {
            let message = format!("The security group '{name}' already exists for VPC '{vpc}'");
            return Err(invalid("InvalidGroup.Duplicate", message));
        }
        let tags = tags_for(form, "security-group");
        let id = self.add_group(name, description, vpc, tags.clone());
        Ok(Xml::default()
            .text("return", true)
            .text("groupId", &id)
            .items("tagSet", tag_items(&tags))
            .text("securityGroupArn", self.arn("security-group", &id)))
    }

    fn delete_group(&mut self, form: &Form) -> Answer {
        let id = required(form, "GroupId")?;
        let used = self.groups.iter().any(|(other, group)| {
            other != id
                && group.rules.iter().any(
                    |rule| matches!(&rule.match_.peer, Peer::Group { group, .. } if group.as_str() == id),
                )
        });
        let group = self.group(id)?;
        if group.name == "default" {
            let message =
                format!("the specified group: \"{id}\" name: \"default\" cannot be deleted by a user");
            return Err(invalid("CannotDelete", message));
        }
        if used {
            return Err(invalid("DependencyViolation", format!("resource {id} has a dependent object")));
        }
        self.groups.remove(id);
        Ok(Xml::default().text("return", true).text("groupId", id))
    }

    fn group(&mut self, id: &str) -> Result<&mut Group, Refusal> {
        self.groups.get_mut(id).ok_or_else(|| not_found("InvalidGroup.NotFound", "security group", id))
    }

    fn describe_groups(&self, form: &Form) -> Answer {
        let found = select(
            form,
            "GroupId",
            &self.groups,
            "InvalidGroup.NotFound",
            "security group",
            |name, id, group| match name {
                "group-id" => vec![id.to_owned()],
                "group-name" => vec![group.name.clone()],
                "vpc-id" => vec![group.vpc.clone()],
                "owner-id" => vec![self.account.clone()],
                "description" => vec![group.description.clone()],
                _ => tag_filter(name, &group.tags),
            },
        )?;
        let (page, next) = page(form, found)?;
        let items = page.into_iter().map(|(id, group)| {
            Xml::default()
                .text("ownerId", &self.account)
                .text("groupId", id)
                .text("groupName", &group.name)
                .text("groupDescription", &group.description)
                .text("vpcId", &group.vpc)
                .items("ipPermissions", permissions(&group.rules, false))
                .items("ipPermissionsEgress", permissions(&group.rules, true))
                .items("tagSet", tag_items(&group.tags))
                .text("securityGroupArn", self.arn("security-group", id))
        });
        Ok(Xml::default().items("securityGroupInfo", items).optional("nextToken", next))
    }

    fn describe_rules(&self, form: &Form) -> Answer {
        let rules: BTreeMap<String, (&str, &Rule)> = self
            .groups
            .iter()
            .flat_map(|(group, of)| of.rules.iter().map(|rule| (rule.id.clone(), (group.as_str(), rule))))
            .collect();
        let (code, what) = ("InvalidSecurityGroupRuleId.NotFound", "security group rule ID");
        let found =
            select(form, "SecurityGroupRuleId", &rules, code, what, |name, id, (group, rule)| match name {
                "group-id" => vec![(*group).to_owned()],
                "security-group-rule-id" => vec![id.to_owned()],
                _ => tag_filter(name, &rule.tags),
            })?;
        let (page, next) = page(form, found)?;
        let items = page.into_iter().map(|(_, (group, rule))| self.rule_xml(group, rule));
        Ok(Xml::default().items("securityGroupRuleSet", items).optional("nextToken", next))
    }

    fn rule_xml(&self, group: &str, rule: &Rule) -> Xml {
        let xml = Xml::default()
            .text("securityGroupRuleId", &rule.id)
            .text("groupId", group)
            .text("groupOwnerId", &self.account)
            .text("isEgress", rule.egress)
            .text("ipProtocol", &rule.match_.protocol)
            .text("fromPort", rule.match_.from)
            .text("toPort", rule.match_.to);
        let xml = match &rule.match_.peer {
            Peer::V4(cidr) => xml.text("cidrIpv4", cidr),
            Peer::V6(cidr) => xml.text("cidrIpv6", cidr),
            Peer::PrefixList(list) => xml.text("prefixListId", list),
            Peer::Group { group, account } => xml.nested(
                "referencedGroupInfo",
                &Xml::default().text("groupId", group).text("userId", account),
            ),
        };
        xml.optional("description", rule.description.as_ref())
            .items("tagSet", tag_items(&rule.tags))
            .text("securityGroupRuleArn", self.arn("security-group-rule", &rule.id))
    }

    fn authorize(&mut self, form: &Form, egress: bool) -> Answer {
        let id = required(form, "GroupId")?;
        let tags = tags_for(form, "security-group-rule");
        let wanted = self.rules_of(form)?;
        for (wanted, _) in &wanted {
            if let Peer::Group { group, account } = &wanted.peer
                && *account == self.account
                && !self.groups.contains_key(group)
            {
                return Err(not_found("InvalidGroup.NotFound", "security group", group));
            }
        }
        let group = self.group(id)?;
        let mut rules = group.rules.clone();
        let mut added = Vec::new();
        for (match_, description) in wanted {
            if rules.iter().any(|rule| rule.egress == egress && rule.match_ == match_) {
                let message = format!("the specified rule \"{match_}\" already exists");
                return Err(invalid("InvalidPermission.Duplicate", message));
            }
            let rule = Rule::new(egress, match_, description, tags.clone());
            rules.push(rule.clone());
            added.push(rule);
        }
        for v6 in [false, true] {
            let counts = |rule: &&Rule| match rule.match_.peer {
                Peer::V4(_) => !v6,
                Peer::V6(_) => v6,
                Peer::PrefixList(_) | Peer::Group { .. } => true,
            };
            if rules.iter().filter(|rule| rule.egress == egress).filter(counts).count() > RULES_PER_GROUP {
                let message = "The maximum number of rules per security group has been reached.";
                return Err(invalid("RulesPerSecurityGroupLimitExceeded", message));
            }
        }
        group.rules = rules;
        let items: Vec<Xml> = added.iter().map(|rule| self.rule_xml(id, rule)).collect();
        Ok(Xml::default().text("return", true).items("securityGroupRuleSet", items))
    }

    fn revoke(&mut self, form: &Form, egress: bool) -> Answer {
        let id = required(form, "GroupId")?;
        let ids = form.list("SecurityGroupRuleId");
        let wanted = self.rules_of(form)?;
        let group = self.group(id)?;
        if ids.is_empty() == wanted.is_empty() {
            let message = "Specify either security group rule ids or permissions";
            return Err(invalid("InvalidParameterCombination", message));
        }
        let mut gone = Vec::new();
        for rule in ids {
            let Some(rule) = group.rules.iter().find(|known| known.id == rule && known.egress == egress)
            else {
                return Err(not_found("InvalidSecurityGroupRuleId.NotFound", "security group rule ID", rule));
            };
            gone.push(rule.clone());
        }
        for (match_, _) in wanted {
            let Some(rule) =
                group.rules.iter().find(|known| known.match_ == match_ && known.egress == egress)
            else {
                let message = "The specified rule does not exist in this security group.";
                return Err(invalid("InvalidPermission.NotFound", message));
            };
            gone.push(rule.clone());
        }
        group.rules.retain(|rule| !gone.iter().any(|gone| gone.id == rule.id));
        let items = gone.iter().map(|rule| {
            let xml = Xml::default()
                .text("securityGroupRuleId", &rule.id)
                .text("groupId", id)
                .text("isEgress", rule.egress)
                .text("ipProtocol", &rule.match_.protocol)
                .text("fromPort", rule.match_.from)
                .text("toPort", rule.match_.to);
            let xml = match &rule.match_.peer {
                Peer::V4(cidr) => xml.text("cidrIpv4", cidr),
                Peer::V6(cidr) => xml.text("cidrIpv6", cidr),
                Peer::PrefixList(list) => xml.text("prefixListId", list),
                Peer::Group { group, .. } => xml.text("referencedGroupId", group),
            };
            xml.optional("description", rule.description.as_ref())
        });
        Ok(Xml::default().text("return", true).items("revokedSecurityGroupRuleSet", items))
    }

    /// The rules that a request names, one a peer: as `IpPermissions`, or by the older top-level members.
    fn rules_of(&self, form: &Form) -> Result<Vec<(Match, Option<String>)>, Refusal> {
        let mut rules = Vec::new();
        if let Some(cidr) = form.get("CidrIp") {
            rules.push((Match::parse(form, Peer::v4(cidr)?)?, None));
        }
        for permission in form.structures("IpPermissions") {
            let mut peers = Vec::new();
            for range in permission.structures("IpRanges") {
                peers.push((Peer::v4(required(&range, "CidrIp")?)?, range));
            }
            for range in permission.structures("Ipv6Ranges") {
                peers.push((Peer::v6(required(&range, "CidrIpv6")?)?, range));
            }
            for list in permission.structures("PrefixListIds") {
                peers.push((Peer::PrefixList(required(&list, "PrefixListId")?.to_owned()), list));
            }
            for pair in permission.structures("Groups") {
                let account = pair.get("UserId").unwrap_or(&self.account).to_owned();
                let group = required(&pair, "GroupId")?.to_owned();
                peers.push((Peer::Group { group, account }, pair));
            }
            if peers.is_empty() {
                let message = "Invalid value 'null' for portRange. Must specify both from and to ports with \
                               TCP/UDP, and a peer";
                return Err(invalid("InvalidParameterValue", message));
            }
            for (peer, member) in peers {
                let description = member.get("Description").filter(|text| !text.is_empty());
                check_description(description.unwrap_or_default())?;
                rules.push((Match::parse(&permission, peer)?, description.map(ToOwned::to_owned)));
            }
        }
        Ok(rules)
    }

    fn allocate(&mut self, form: &Form) -> Answer {
        let ip = match form.get("Address") {
            None => {
                self.allocated += 1;
                // A block that is kept for documentation: nobody's address.
                let [.., high, low] = self.allocated.to_be_bytes();
                Ipv4Addr::new(203, 0, 113u8.wrapping_add(high), low).to_string()
            }
            Some(ip) => {
                if !self.released.remove(ip) {
                    return Err(not_found("InvalidAddress.NotFound", "address", ip));
                }
                ip.to_owned()
            }
        };
        let id = format!("eipalloc-{}", short_id());
        let tags = tags_for(form, "elastic-ip");
        self.addresses.insert(id.clone(), Address { ip: ip.clone(), tags, ..Address::default() });
        Ok(Xml::default()
            .text("publicIp", ip)
            .text("allocationId", id)
            .text("publicIpv4Pool", "amazon")
            .text("networkBorderGroup", &self.region)
            .text("domain", "vpc"))
    }

    fn address(&mut self, id: &str) -> Result<&mut Address, Refusal> {
        self.addresses
            .get_mut(id)
            .ok_or_else(|| not_found("InvalidAllocationID.NotFound", "allocation ID", id))
    }

    fn associate(&mut self, form: &Form) -> Answer {
        let id = required(form, "AllocationId")?;
        let (instance, interface) = (form.get("InstanceId"), form.get("NetworkInterfaceId"));
        if instance.is_none() && interface.is_none() {
            let message = "The request must contain the parameter InstanceId or NetworkInterfaceId";
            return Err(invalid("MissingParameter", message));
        }
        let address = self.address(id)?;
        if address.association.is_some() && form.get("AllowReassociation") == Some("false") {
            let message = format!("resource {id} is already associated");
            return Err(invalid("Resource.AlreadyAssociated", message));
        }
        let association = format!("eipassoc-{}", short_id());
        // An instance is reached by its interface, so AWS names one for both.
        let interface = interface.map_or_else(|| format!("eni-{}", short_id()), ToOwned::to_owned);
        address.association = Some(Association {
            id: association.clone(),
            instance: instance.map(ToOwned::to_owned),
            interface: Some(interface),
            private_ip: form.get("PrivateIpAddress").unwrap_or("10.0.0.10").to_owned(),
        });
        Ok(Xml::default().text("return", true).text("associationId", association))
    }

    fn disassociate(&mut self, form: &Form) -> Answer {
        let id = required(form, "AssociationId")?;
        let held = |address: &&mut Address| address.association.as_ref().is_some_and(|held| held.id == id);
        match self.addresses.values_mut().find(held) {
            Some(address) => address.association = None,
            None => return Err(not_found("InvalidAssociationID.NotFound", "association ID", id)),
        }
        Ok(Xml::default().text("return", true))
    }

    fn describe_addresses(&self, form: &Form) -> Answer {
        let (code, what) = ("InvalidAllocationID.NotFound", "allocation ID");
        let mut found = select(form, "AllocationId", &self.addresses, code, what, |name, id, address| {
            let association = address.association.as_ref();
            match name {
                "allocation-id" => vec![id.to_owned()],
                "public-ip" => vec![address.ip.clone()],
                "domain" => vec!["vpc".to_owned()],
                "association-id" => association.map(|held| held.id.clone()).into_iter().collect(),
                "instance-id" => association.and_then(|held| held.instance.clone()).into_iter().collect(),
                "network-interface-id" => {
                    association.and_then(|held| held.interface.clone()).into_iter().collect()
                }
                _ => tag_filter(name, &address.tags),
            }
        })?;
        let ips = form.list("PublicIp");
        if let Some(missing) = ips.iter().find(|ip| !self.addresses.values().any(|known| known.ip == **ip)) {
            return Err(invalid("InvalidAddress.NotFound", format!("Address '{missing}' not found.")));
        }
        found.retain(|(_, address)| ips.is_empty() || ips.contains(&address.ip.as_str()));
        let items = found.into_iter().map(|(id, address)| {
            let association = address.association.as_ref();
            Xml::default()
                .text("publicIp", &address.ip)
                .text("allocationId", id)
                .text("domain", "vpc")
                .text("publicIpv4Pool", "amazon")
                .text("networkBorderGroup", &self.region)
                .optional("associationId", association.map(|held| &held.id))
                .optional("instanceId", association.and_then(|held| held.instance.as_ref()))
                .optional("networkInterfaceId", association.and_then(|held| held.interface.as_ref()))
                .optional("networkInterfaceOwnerId", association.map(|_| &self.account))
                .optional("privateIpAddress", association.map(|held| &held.private_ip))
                .items("tagSet", tag_items(&address.tags))
        });
        Ok(Xml::default().items("addressesSet", items))
    }

    fn release(&mut self, form: &Form) -> Answer {
        let id = required(form, "AllocationId")?;
        let address = self.address(id)?;
        if address.association.is_some() {
            let message = format!("Address {} is in use.", address.ip);
            return Err(invalid("InvalidIPAddress.InUse", message));
        }
        if address.reverse_dns.is_some() {
            let message =
                format!("The address with allocation id [{id}] cannot be released because it is locked.");
            return Err(invalid("InvalidAddress.Locked", message));
        }
        if let Some(address) = self.addresses.remove(id) {
            self.released.insert(address.ip);
        }
        Ok(Xml::default().text("return", true))
    }

    fn describe_reverse_dns(&self, form: &Form) -> Answer {
        let (code, what) = ("InvalidAllocationID.NotFound", "allocation ID");
        let found = select(form, "AllocationId", &self.addresses, code, what, |_, _, _| Vec::new())?;
        let (page, next) = page(form, found)?;
        let items = page.into_iter().map(|(id, address)| reverse_dns_xml(id, address));
        Ok(Xml::default().items("addressSet", items).optional("nextToken", next))
    }

    fn set_reverse_dns(&mut self, form: &Form, name: Option<&str>) -> Answer {
        let id = required(form, "AllocationId")?;
        let address = self.address(id)?;
        address.reverse_dns = name.map(ToOwned::to_owned);
        Ok(Xml::default().nested("address", &reverse_dns_xml(id, address)))
    }

    fn describe_transfers(&self, form: &Form) -> Answer {
        let (code, what) = ("InvalidAllocationID.NotFound", "allocation ID");
        let mut found = select(form, "AllocationId", &self.addresses, code, what, |_, _, _| Vec::new())?;
        found.retain(|(_, address)| address.offered_to.is_some());
        let (page, next) = page(form, found)?;
        let items = page.into_iter().map(|(id, address)| transfer_xml(id, address, "pending"));
        Ok(Xml::default().items("addressTransferSet", items).optional("nextToken", next))
    }

    fn offer(&mut self, form: &Form, to: Option<&str>) -> Answer {
        let id = required(form, "AllocationId")?;
        let address = self.address(id)?;
        address.offered_to = to.map(ToOwned::to_owned);
        let status = if to.is_some() { "pending" } else { "disabled" };
        Ok(Xml::default().nested("addressTransfer", &transfer_xml(id, address, status)))
    }

    /// The tags of everything here, by resource id.
    fn tags(&mut self) -> BTreeMap<String, (&'static str, &mut Tags)> {
        let mut all = BTreeMap::new();
        for (id, vpc) in &mut self.vpcs {
            all.insert(id.clone(), ("vpc", &mut vpc.tags));
        }
        all.extend(self.lan.tags());
        for (id, address) in &mut self.addresses {
            all.insert(id.clone(), ("elastic-ip", &mut address.tags));
        }
        for (id, group) in &mut self.groups {
            all.insert(id.clone(), ("security-group", &mut group.tags));
            for rule in &mut group.rules {
                all.insert(rule.id.clone(), ("security-group-rule", &mut rule.tags));
            }
        }
        all.extend(self.compute.tags());
        all.extend(self.snapshots.tags());
        for (id, template) in &mut self.templates {
            all.insert(id.clone(), ("launch-template", &mut template.tags));
        }
        all
    }

    fn tag(&mut self, form: &Form, change: impl Fn(&mut Tags, Tags)) -> Answer {
        let given = tags_of(form);
        let mut all = self.tags();
        let ids = form.list("ResourceId");
        if let Some(missing) = ids.iter().find(|id| !all.contains_key(**id)) {
            return Err(invalid("InvalidID", format!("The ID '{missing}' is not valid")));
        }
        for id in ids {
            if let Some((_, tags)) = all.get_mut(id) {
                change(tags, given.clone());
            }
        }
        Ok(Xml::default().text("return", true))
    }

    fn describe_tags(&mut self, form: &Form) -> Answer {
        let mut all = BTreeMap::new();
        for (id, (kind, tags)) in self.tags() {
            for (key, value) in &*tags {
                all.insert(format!("{id}/{key}"), (id.clone(), kind, key.clone(), value.clone()));
            }
        }
        let found = select(form, "", &all, "", "", |name, _, (id, kind, key, value)| match name {
            "resource-id" => vec![id.clone()],
            "resource-type" => vec![(*kind).to_owned()],
            "key" => vec![key.clone()],
            "value" => vec![value.clone()],
            _ => Vec::new(),
        })?;
        let (page, next) = page(form, found)?;
        let items = page.into_iter().map(|(_, (id, kind, key, value))| {
            Xml::default()
                .text("resourceId", id)
                .text("resourceType", kind)
                .text("key", key)
                .text("value", value)
        });
        Ok(Xml::default().items("tagSet", items).optional("nextToken", next))
    }
}

impl Rule {
    fn new(egress: bool, match_: Match, description: Option<String>, tags: Tags) -> Self {
        Self { id: format!("sgr-{}", short_id()), egress, match_, description, tags }
    }
}

impl Match {
    fn all(peer: Peer) -> Self {
        Self { protocol: "-1".to_owned(), from: -1, to: -1, peer }
    }

    fn parse(form: &Form, peer: Peer) -> Result<Self, Refusal> {
        let protocol = match required(form, "IpProtocol")?.to_lowercase().as_str() {
            "6" => "tcp".to_owned(),
            "17" => "udp".to_owned(),
            "1" => "icmp".to_owned(),
            "58" => "icmpv6".to_owned(),
            "all" => "-1".to_owned(),
            other => other.to_owned(),
        };
        let port = |name| form.get(name).and_then(|port| port.parse::<i64>().ok());
        let (from, to) = (port("FromPort"), port("ToPort"));
        match (protocol.as_str(), from, to) {
            ("tcp" | "udp", Some(from), Some(to)) => {
                if from > to || !(0..=65_535).contains(&from) || to > 65_535 {
                    let message = format!("Invalid value '{from}-{to}' for portRange");
                    return Err(invalid("InvalidParameterValue", message));
                }
                Ok(Self { protocol, from, to, peer })
            }
            ("tcp" | "udp", ..) => {
                let message =
                    "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.";
                Err(invalid("InvalidParameterValue", message))
            }
            ("icmp" | "icmpv6", from, to) => {
                Ok(Self { protocol, from: from.unwrap_or(-1), to: to.unwrap_or(-1), peer })
            }
            // Ports mean nothing for any other protocol: AWS takes them, and opens all.
            _ => Ok(Self { protocol, from: -1, to: -1, peer }),
        }
    }
}

impl std::fmt::Display for Match {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let peer = match &self.peer {
            Peer::V4(peer) | Peer::V6(peer) | Peer::PrefixList(peer) | Peer::Group { group: peer, .. } => {
                peer
            }
        };
        let protocol = if self.protocol == "-1" { "ALL".to_owned() } else { self.protocol.to_uppercase() };
        write!(f, "peer: {peer}, {protocol}, from port: {}, to port: {}, ALLOW", self.from, self.to)
    }
}

impl Peer {
    /// An IPv4 block. As AWS does, bits beyond the prefix are cleared.
    fn v4(cidr: &str) -> Result<Self, Refusal> {
        let parse = || {
            let (address, length) = cidr.split_once('/')?;
            let (address, length) = (address.parse::<Ipv4Addr>().ok()?, length.parse::<u32>().ok()?);
            let mask = u32::MAX.checked_shl(32u32.checked_sub(length)?).unwrap_or(0);
            Some(format!("{}/{length}", Ipv4Addr::from_bits(address.to_bits() & mask)))
        };
        parse().map(Self::V4).ok_or_else(|| malformed(cidr))
    }

    fn v6(cidr: &str) -> Result<Self, Refusal> {
        let parse = || {
            let (address, length) = cidr.split_once('/')?;
            let (address, length) = (address.parse::<Ipv6Addr>().ok()?, length.parse::<u32>().ok()?);
            let mask = u128::MAX.checked_shl(128u32.checked_sub(length)?).unwrap_or(0);
            Some(format!("{}/{length}", Ipv6Addr::from_bits(address.to_bits() & mask)))
        };
        parse().map(Self::V6).ok_or_else(|| malformed(cidr))
    }
}

fn reverse_dns_xml(id: &str, address: &Address) -> Xml {
    Xml::default()
        .text("publicIp", &address.ip)
        .text("allocationId", id)
        .optional("ptrRecord", address.reverse_dns.as_ref())
}

fn transfer_xml(id: &str, address: &Address, status: &str) -> Xml {
    Xml::default()
        .text("publicIp", &address.ip)
        .text("allocationId", id)
        .optional("transferAccountId", address.offered_to.as_ref())
        .text("addressTransferStatus", status)
}

/// The rules of one direction as `IpPermission` groups them: by protocol and ports.
fn permissions(rules: &[Rule], egress: bool) -> Vec<Xml> {
    let mut grouped: BTreeMap<(&str, i64, i64), Vec<&Rule>> = BTreeMap::new();
    for rule in rules.iter().filter(|rule| rule.egress == egress) {
        let key = (rule.match_.protocol.as_str(), rule.match_.from, rule.match_.to);
        grouped.entry(key).or_default().push(rule);
    }
    let permission = |((protocol, from, to), rules): ((&str, i64, i64), Vec<&Rule>)| {
        let peers = |name: &'static str, pick: fn(&Peer) -> Option<Xml>| {
            let items: Vec<Xml> = rules
                .iter()
                .filter_map(|rule| {
                    Some(pick(&rule.match_.peer)?.optional("description", rule.description.as_ref()))
                })
                .collect();
            Xml::default().items(name, items)
        };
        let ports = protocol != "-1";
        let members = [
            Xml::default()
                .text("ipProtocol", protocol)
                .optional("fromPort", ports.then_some(from))
                .optional("toPort", ports.then_some(to)),
            peers("groups", |peer| match peer {
                Peer::Group { group, account } => {
                    Some(Xml::default().text("groupId", group).text("userId", account))
                }
                _ => None,
            }),
            peers("ipRanges", |peer| match peer {
                Peer::V4(cidr) => Some(Xml::default().text("cidrIp", cidr)),
                _ => None,
            }),
            peers("ipv6Ranges", |peer| match peer {
                Peer::V6(cidr) => Some(Xml::default().text("cidrIpv6", cidr)),
                _ => None,
            }),
            peers("prefixListIds", |peer| match peer {
                Peer::PrefixList(list) => Some(Xml::default().text("prefixListId", list)),
                _ => None,
            }),
        ];
        members.iter().fold(Xml::default(), Xml::then)
    };
    grouped.into_iter().map(permission).collect()
}

/// What a request asks for: by id, where one that is missing is an error, and by filters, where none is.
fn select<'a, T>(
    form: &Form,
    parameter: &str,
    all: &'a BTreeMap<String, T>,
    code: &str,
    what: &str,
    values: impl Fn(&str, &str, &T) -> Vec<String>,
) -> Result<Vec<(&'a str, &'a T)>, Refusal> {
    let ids = form.list(parameter);
    if let Some(missing) = ids.iter().find(|id| !all.contains_key(**id)) {
        return Err(not_found(code, what, missing));
    }
    let filters: Vec<(String, Vec<String>)> = form
        .structures("Filter")
        .iter()
        .map(|filter| {
            let wanted = filter.list("Value").into_iter().map(ToOwned::to_owned).collect();
            (filter.get("Name").unwrap_or_default().to_owned(), wanted)
        })
        .collect();
    let admits = |id: &str, one: &T| {
        filters.iter().all(|(name, wanted)| {
            let has = values(name, id, one);
            wanted.iter().any(|wanted| has.contains(wanted))
        })
    };
    let asked = |id: &str| ids.is_empty() || ids.contains(&id);
    Ok(all
        .iter()
        .map(|(id, one)| (id.as_str(), one))
        .filter(|(id, one)| asked(id) && admits(id, one))
        .collect())
}

/// One page, and the token of the next.
fn page<T>(form: &Form, all: Vec<T>) -> Result<(Vec<T>, Option<String>), Refusal> {
    let start = match form.get("NextToken") {
        None => 0,
        Some(token) => token
            .parse::<usize>()
            .map_err(|_| invalid("InvalidNextToken", format!("The token '{token}' is invalid")))?,
    };
    let size = match form.get("MaxResults").map(str::parse::<usize>) {
        None => 1000,
        Some(Ok(size @ 5..=1000)) => size,
        Some(_) => {
            let message = "Value for parameter MaxResults is invalid. Expecting a value from 5 to 1000.";
            return Err(invalid("InvalidParameterValue", message));
        }
    };
    let next = (all.len() > start.saturating_add(size)).then(|| start.saturating_add(size).to_string());
    Ok((all.into_iter().skip(start).take(size).collect(), next))
}

fn tag_filter(name: &str, tags: &Tags) -> Vec<String> {
    match name.strip_prefix("tag:") {
        Some(key) => tags.get(key).cloned().into_iter().collect(),
        None if name == "tag-key" => tags.keys().cloned().collect(),
        None => Vec::new(),
    }
}

fn tags_of(form: &Form) -> Tags {
    let text = |tag: &Form, name: &str| tag.get(name).unwrap_or_default().to_owned();
    form.structures("Tag").iter().map(|tag| (text(tag, "Key"), text(tag, "Value"))).collect()
}

fn tags_for(form: &Form, kind: &str) -> Tags {
    form.structures("TagSpecification")
        .iter()
        .filter(|given| given.get("ResourceType") == Some(kind))
        .flat_map(tags_of)
        .collect()
}

fn tag_items(tags: &Tags) -> Vec<Xml> {
    tags.iter().map(|(key, value)| Xml::default().text("key", key).text("value", value)).collect()
}

fn required<'a>(form: &'a Form, name: &str) -> Result<&'a str, Refusal> {
    let missing = || invalid("MissingParameter", format!("The request must contain the parameter {name}"));
    form.get(name).ok_or_else(missing)
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpRange.html>
fn check_description(text: &str) -> Result<(), Refusal> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
    if text.chars().count() > 255 || !text.chars().all(allowed) {
        let message = "Invalid rule description. Valid descriptions are strings less than 256 characters from \
                       the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*";
        return Err(invalid("InvalidParameterValue", message));
    }
    Ok(())
}

fn invalid(code: &str, message: impl Into<String>) -> Refusal {
    Refusal::new(400, code, message)
}

fn not_found(code: &str, what: &str, id: &str) -> Refusal {
    invalid(code, format!("The {what} '{id}' does not exist"))
}

fn malformed(cidr: &str) -> Refusal {
    invalid("InvalidParameterValue", format!("CIDR block {cidr} is malformed"))
}
