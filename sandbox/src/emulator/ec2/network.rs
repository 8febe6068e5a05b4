//! Subnets, network interfaces, network ACLs, transit gateways and flow logs.
//!
//! A transit gateway that was modified reads once more as it was, `modifying`, as it does on AWS for a minute. A flow
//! log is refused where the VPC has one of the same traffic and destination; whether destination and role exist is
//! not looked up.

use std::collections::BTreeMap;

use super::{
    Answer, Form, Network, Peer, Refusal, Tags, Xml, invalid, not_found, page, required, select, short_id,
    tag_filter, tag_items, tags_for,
};

/// Entries of one direction that an ACL may have, the default one included
/// ([quota](https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html#vpc-limits-nacls)).
const ENTRIES_PER_ACL: usize = 20;

/// [The format](https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html) of a flow log that names none.
const FORMAT: &str = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} \
                      ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}";

/// What this module knows of one account and Region.
#[derive(Default)]
pub(super) struct Lan {
    subnets: BTreeMap<String, Subnet>,
    interfaces: BTreeMap<String, Interface>,
    acls: BTreeMap<String, Acl>,
    gateways: BTreeMap<String, Gateway>,
    flow_logs: BTreeMap<String, FlowLog>,
}

struct Subnet {
    vpc: String,
    cidr: String,
    map_public_ip: bool,
    assign_ipv6: bool,
    tags: Tags,
}

struct Interface {
    subnet: String,
    vpc: String,
    groups: Vec<String>,
    description: String,
    tags: Tags,
}

struct Acl {
    vpc: String,
    default: bool,
    /// By direction (`true`: outbound) and number.
    entries: BTreeMap<(bool, u32), Entry>,
    tags: Tags,
}

#[derive(Clone)]
struct Entry {
    protocol: String,
    action: String,
    peer: Peer,
    ports: Option<(u16, u16)>,
    icmp: Option<(i32, i32)>,
}

struct Gateway {
    description: String,
    options: BTreeMap<&'static str, String>,
    /// The options that the next look still sees.
    before: Option<BTreeMap<&'static str, String>>,
    tags: Tags,
}

struct FlowLog {
    vpc: String,
    traffic: String,
    destination: String,
    destination_type: String,
    role: Option<String>,
    format: String,
    interval: u32,
    tags: Tags,
}

/// The options of a transit gateway, as
/// [AWS sets them](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TransitGatewayRequestOptions.html)
/// where nothing is said, and as requests and answers name them.
const OPTIONS: [(&str, &str, &str); 6] = [
    ("AmazonSideAsn", "amazonSideAsn", "64512"),
    ("AutoAcceptSharedAttachments", "autoAcceptSharedAttachments", "disable"),
    ("DefaultRouteTableAssociation", "defaultRouteTableAssociation", "enable"),
    ("DefaultRouteTablePropagation", "defaultRouteTablePropagation", "enable"),
    ("VpnEcmpSupport", "vpnEcmpSupport", "enable"),
    ("DnsSupport", "dnsSupport", "enable"),
];

impl Lan {
    /// The ACL that every VPC has from the start, and that lets everything through.
    pub(super) fn default_acl(&mut self, vpc: &str) {
        let everything = Entry {
            protocol: "-1".to_owned(),
            action: "allow".to_owned(),
            peer: Peer::V4("0.0.0.0/0".to_owned()),
            ports: None,
            icmp: None,
        };
        let entries = [false, true].map(|egress| ((egress, 100), everything.clone())).into();
        let acl = Acl { vpc: vpc.to_owned(), default: true, entries, tags: Tags::new() };
        self.acls.insert(format!("acl-{}", short_id()), acl);
    }

    /// The tags of everything here, by resource id.
    pub(super) fn tags(&mut self) -> impl Iterator<Item = (String, (&'static str, &mut Tags))> {
        let subnets = self.subnets.iter_mut().map(|(id, one)| (id, "subnet", &mut one.tags));
        let interfaces = self.interfaces.iter_mut().map(|(id, one)| (id, "network-interface", &mut one.tags));
        let acls = self.acls.iter_mut().map(|(id, one)| (id, "network-acl", &mut one.tags));
        let gateways = self.gateways.iter_mut().map(|(id, one)| (id, "transit-gateway", &mut one.tags));
        let flow_logs = self.flow_logs.iter_mut().map(|(id, one)| (id, "vpc-flow-log", &mut one.tags));
        let all = subnets.chain(interfaces).chain(acls).chain(gateways).chain(flow_logs);
        all.map(|(id, kind, tags)| (id.clone(), (kind, tags)))
    }

    fn acl(&mut self, form: &Form) -> Result<&mut Acl, Refusal> {
        let id = required(form, "NetworkAclId")?;
        self.acls.get_mut(id).ok_or_else(|| not_found("InvalidNetworkAclID.NotFound", "networkAcl ID", id))
    }
}

/// Answers an operation; `None` for one of another module.
pub(super) fn perform(network: &mut Network, operation: &str, form: &Form) -> Option<Answer> {
    Some(match operation {
        "CreateSubnet" => create_subnet(network, form),
        "DescribeSubnets" => describe_subnets(network, form),
        "ModifySubnetAttribute" => modify_subnet(network, form),
        "CreateNetworkInterface" => create_interface(network, form),
        "DescribeNetworkInterfaces" => describe_interfaces(network, form),
        "CreateNetworkAcl" => create_acl(network, form),
        "DescribeNetworkAcls" => describe_acls(network, form),
        "CreateNetworkAclEntry" => put_entry(network, form, false),
        "ReplaceNetworkAclEntry" => put_entry(network, form, true),
        "DeleteNetworkAclEntry" => delete_entry(network, form),
        "CreateTransitGateway" => Ok(create_gateway(network, form)),
        "DescribeTransitGateways" => describe_gateways(network, form),
        "ModifyTransitGateway" => modify_gateway(network, form),
        "CreateFlowLogs" => create_flow_logs(network, form),
        "DescribeFlowLogs" => describe_flow_logs(network, form),
        "DeleteFlowLogs" => Ok(delete_flow_logs(network, form)),
        _ => return None,
    })
}

fn create_subnet(network: &mut Network, form: &Form) -> Answer {
    let vpc = required(form, "VpcId")?;
    let Peer::V4(cidr) = Peer::v4(required(form, "CidrBlock")?)? else {
        return Err(invalid("InvalidParameterValue", "CIDR block"));
    };
    if !network.vpcs.contains_key(vpc) {
        return Err(not_found("InvalidVpcID.NotFound", "vpc ID", vpc));
    }
    let id = format!("subnet-{}", short_id());
    let subnet = Subnet {
        vpc: vpc.to_owned(),
        cidr,
        map_public_ip: false,
        assign_ipv6: false,
        tags: tags_for(form, "subnet"),
    };
    let xml = subnet_xml(network, &id, &subnet);
    network.lan.subnets.insert(id, subnet);
    Ok(Xml::default().nested("subnet", &xml))
}

fn subnet_xml(network: &Network, id: &str, subnet: &Subnet) -> Xml {
    Xml::default()
        .text("subnetId", id)
        .text("subnetArn", network.arn("subnet", id))
        .text("state", "available")
        .text("ownerId", &network.account)
        .text("vpcId", &subnet.vpc)
        .text("cidrBlock", &subnet.cidr)
        .text("availabilityZone", format!("{}a", network.region))
        .text("defaultForAz", false)
        .text("mapPublicIpOnLaunch", subnet.map_public_ip)
        .text("assignIpv6AddressOnCreation", subnet.assign_ipv6)
        .items("tagSet", tag_items(&subnet.tags))
}

fn describe_subnets(network: &Network, form: &Form) -> Answer {
    let (code, what) = ("InvalidSubnetID.NotFound", "subnet ID");
    let found = select(form, "SubnetId", &network.lan.subnets, code, what, |name, id, subnet| match name {
        "subnet-id" => vec![id.to_owned()],
        "vpc-id" => vec![subnet.vpc.clone()],
        _ => tag_filter(name, &subnet.tags),
    })?;
    let (page, next) = page(form, found)?;
    let items = page.into_iter().map(|(id, subnet)| subnet_xml(network, id, subnet));
    Ok(Xml::default().items("subnetSet", items).optional("nextToken", next))
}

/// One attribute a call, as
/// [AWS has it](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifySubnetAttribute.html).
fn modify_subnet(network: &mut Network, form: &Form) -> Answer {
    let id = required(form, "SubnetId")?;
    let Some(subnet) = network.lan.subnets.get_mut(id) else {
        return Err(not_found("InvalidSubnetID.NotFound", "subnet ID", id));
    };
    let given = |name: &str| form.get(&format!("{name}.Value")).map(|value| value == "true");
    match (given("MapPublicIpOnLaunch"), given("AssignIpv6AddressOnCreation")) {
        (Some(value), None) => subnet.map_public_ip = value,
        (None, Some(value)) => subnet.assign_ipv6 = value,
        _ => {
            let message = "Exactly one attribute must be specified";
            return Err(invalid("InvalidParameterCombination", message));
        }
    }
    Ok(Xml::default().text("return", true))
}

fn create_interface(network: &mut Network, form: &Form) -> Answer {
    let subnet = required(form, "SubnetId")?;
    let Some(vpc) = network.lan.subnets.get(subnet).map(|subnet| subnet.vpc.clone()) else {
        return Err(not_found("InvalidSubnetID.NotFound", "subnet ID", subnet));
    };
    let mut groups: Vec<String> = form.list("SecurityGroupId").into_iter().map(ToOwned::to_owned).collect();
    if groups.is_empty() {
        let is_default = |(_, group): &(&String, &super::Group)| group.vpc == vpc && group.name == "default";
        groups.extend(network.groups.iter().find(is_default).map(|(id, _)| id.clone()));
    }
    if let Some(missing) = groups.iter().find(|id| !network.groups.contains_key(*id)) {
        return Err(not_found("InvalidGroup.NotFound", "security group", missing));
    }
    let id = format!("eni-{}", short_id());
    let interface = Interface {
        subnet: subnet.to_owned(),
        vpc,
        groups,
        description: form.get("Description").unwrap_or_default().to_owned(),
        tags: tags_for(form, "network-interface"),
    };
    let xml = interface_xml(network, &id, &interface);
    network.lan.interfaces.insert(id, interface);
    Ok(Xml::default().nested("networkInterface", &xml))
}

fn interface_xml(network: &Network, id: &str, interface: &Interface) -> Xml {
    let groups = interface.groups.iter().map(|group| {
        let name = network.groups.get(group).map(|group| &group.name);
        Xml::default().text("groupId", group).optional("groupName", name)
    });
    Xml::default()
        .text("networkInterfaceId", id)
        .text("subnetId", &interface.subnet)
        .text("vpcId", &interface.vpc)
        .text("ownerId", &network.account)
        .text("description", &interface.description)
        .text("status", "available")
        .items("groupSet", groups)
        .items("tagSet", tag_items(&interface.tags))
}

fn describe_interfaces(network: &Network, form: &Form) -> Answer {
    let (code, what) = ("InvalidNetworkInterfaceID.NotFound", "networkInterface ID");
    let all = &network.lan.interfaces;
    let found = select(form, "NetworkInterfaceId", all, code, what, |name, id, interface| match name {
        "network-interface-id" => vec![id.to_owned()],
        "group-id" => interface.groups.clone(),
        "subnet-id" => vec![interface.subnet.clone()],
        "vpc-id" => vec![interface.vpc.clone()],
        _ => tag_filter(name, &interface.tags),
    })?;
    // A page may be empty and not the last one; here the first always is, for whoever takes it for all there is.
    if form.get("NextToken").is_none() && form.list("NetworkInterfaceId").is_empty() {
        return Ok(Xml::default()
            .items("networkInterfaceSet", [])
            .optional("nextToken", Some("0".to_owned())));
    }
    let (page, next) = page(form, found)?;
    let items = page.into_iter().map(|(id, interface)| interface_xml(network, id, interface));
    Ok(Xml::default().items("networkInterfaceSet", items).optional("nextToken", next))
}

fn create_acl(network: &mut Network, form: &Form) -> Answer {
    let vpc = required(form, "VpcId")?;
    if !network.vpcs.contains_key(vpc) {
        return Err(not_found("InvalidVpcID.NotFound", "vpc ID", vpc));
    }
    let id = format!("acl-{}", short_id());
    let acl = Acl {
        vpc: vpc.to_owned(),
        default: false,
        entries: BTreeMap::new(),
        tags: tags_for(form, "network-acl"),
    };
    let xml = acl_xml(network, &id, &acl);
    network.lan.acls.insert(id, acl);
    Ok(Xml::default().nested("networkAcl", &xml))
}

fn acl_xml(network: &Network, id: &str, acl: &Acl) -> Xml {
    let last = |egress| {
        let entry = Entry {
            protocol: "-1".to_owned(),
            action: "deny".to_owned(),
            peer: Peer::V4("0.0.0.0/0".to_owned()),
            ports: None,
            icmp: None,
        };
        entry_xml(egress, 32_767, &entry)
    };
    let entries = acl.entries.iter().map(|((egress, number), entry)| entry_xml(*egress, *number, entry));
    Xml::default()
        .text("networkAclId", id)
        .text("vpcId", &acl.vpc)
        .text("ownerId", &network.account)
        .text("default", acl.default)
        .items("entrySet", entries.chain([last(false), last(true)]))
        .items("associationSet", [])
        .items("tagSet", tag_items(&acl.tags))
}

fn entry_xml(egress: bool, number: u32, entry: &Entry) -> Xml {
    let xml = Xml::default()
        .text("ruleNumber", number)
        .text("protocol", &entry.protocol)
        .text("ruleAction", &entry.action)
        .text("egress", egress);
    let mut xml = match &entry.peer {
        Peer::V6(cidr) => xml.text("ipv6CidrBlock", cidr),
        Peer::V4(cidr) | Peer::PrefixList(cidr) | Peer::Group { group: cidr, .. } => {
            xml.text("cidrBlock", cidr)
        }
    };
    if let Some((from, to)) = entry.ports {
        xml = xml.nested("portRange", &Xml::default().text("from", from).text("to", to));
    }
    if let Some((kind, code)) = entry.icmp {
        xml = xml.nested("icmpTypeCode", &Xml::default().text("code", code).text("type", kind));
    }
    xml
}

fn describe_acls(network: &Network, form: &Form) -> Answer {
    let (code, what) = ("InvalidNetworkAclID.NotFound", "networkAcl ID");
    let found = select(form, "NetworkAclId", &network.lan.acls, code, what, |name, id, acl| match name {
        "network-acl-id" => vec![id.to_owned()],
        "vpc-id" => vec![acl.vpc.clone()],
        "default" => vec![acl.default.to_string()],
        _ => tag_filter(name, &acl.tags),
    })?;
    let (page, next) = page(form, found)?;
    let items = page.into_iter().map(|(id, acl)| acl_xml(network, id, acl));
    Ok(Xml::default().items("networkAclSet", items).optional("nextToken", next))
}

/// Direction and number of an entry that can be changed.
fn place_of(form: &Form) -> Result<(bool, u32), Refusal> {
    let egress = required(form, "Egress")? == "true";
    match required(form, "RuleNumber")?.parse() {
        Ok(number @ 1..=32_766) => Ok((egress, number)),
        _ => Err(invalid("InvalidParameterValue", "Value for parameter ruleNumber is invalid.")),
    }
}

fn entry_of(form: &Form) -> Result<Entry, Refusal> {
    let protocol = match required(form, "Protocol")?.to_lowercase().as_str() {
        "tcp" => "6".to_owned(),
        "udp" => "17".to_owned(),
        "icmp" => "1".to_owned(),
        "icmpv6" => "58".to_owned(),
        "all" => "-1".to_owned(),
        other => other.to_owned(),
    };
    let action = required(form, "RuleAction")?.to_owned();
    let peer = match (form.get("CidrBlock"), form.get("Ipv6CidrBlock")) {
        (Some(cidr), None) => Peer::v4(cidr)?,
        (None, Some(cidr)) => Peer::v6(cidr)?,
        _ => {
            let message = "Exactly one of cidrBlock and ipv6CidrBlock must be specified";
            return Err(invalid("InvalidParameterCombination", message));
        }
    };
    let number = |name: &str| form.get(name).and_then(|text| text.parse::<i32>().ok());
    let port = |name: &str| number(name).and_then(|port| u16::try_from(port).ok());
    let ports = match protocol.as_str() {
        "6" | "17" => match (port("PortRange.From"), port("PortRange.To")) {
            (Some(from), Some(to)) if from <= to => Some((from, to)),
            _ => return Err(invalid("InvalidParameterValue", "Invalid value for portRange.")),
        },
        // Of any other protocol, ports mean nothing, and are not kept.
        _ => None,
    };
    let icmp = match protocol.as_str() {
        "1" | "58" => match (number("Icmp.Type"), number("Icmp.Code")) {
            (Some(kind), Some(code)) => Some((kind, code)),
            _ => return Err(invalid("MissingParameter", "The request must contain the parameter icmp")),
        },
        _ => None,
    };
    Ok(Entry { protocol, action, peer, ports, icmp })
}

fn put_entry(network: &mut Network, form: &Form, replace: bool) -> Answer {
    let (place, entry) = (place_of(form)?, entry_of(form)?);
    let (egress, number) = place;
    let acl = network.lan.acl(form)?;
    match (replace, acl.entries.contains_key(&place)) {
        (true, false) => return Err(no_entry(number)),
        (false, true) => {
            let message = format!("The network acl entry identified by {number} already exists.");
            return Err(invalid("NetworkAclEntryAlreadyExists", message));
        }
        (true, true) => {}
        (false, false) => {
            if acl.entries.keys().filter(|(of, _)| *of == egress).count() + 1 >= ENTRIES_PER_ACL {
                let message = "The maximum number of network acl entries has been reached.";
                return Err(invalid("NetworkAclEntryLimitExceeded", message));
            }
        }
    }
    acl.entries.insert(place, entry);
    Ok(Xml::default().text("return", true))
}

fn delete_entry(network: &mut Network, form: &Form) -> Answer {
    let place = place_of(form)?;
    match network.lan.acl(form)?.entries.remove(&place) {
        Some(_) => Ok(Xml::default().text("return", true)),
        None => Err(no_entry(place.1)),
    }
}

fn no_entry(number: u32) -> Refusal {
    let message = format!("The specified network acl entry {number} does not exist.");
    invalid("InvalidNetworkAclEntry.NotFound", message)
}

fn create_gateway(network: &mut Network, form: &Form) -> Xml {
    let options = OPTIONS
        .iter()
        .map(|(name, answer, otherwise)| {
            (*answer, form.get(&format!("Options.{name}")).unwrap_or(otherwise).to_owned())
        })
        .collect();
    let id = format!("tgw-{}", short_id());
    let gateway = Gateway {
        description: form.get("Description").unwrap_or_default().to_owned(),
        options,
        before: None,
        tags: tags_for(form, "transit-gateway"),
    };
    let xml = gateway_xml(network, &id, &gateway);
    network.lan.gateways.insert(id, gateway);
    Xml::default().nested("transitGateway", &xml)
}

fn gateway_xml(network: &Network, id: &str, gateway: &Gateway) -> Xml {
    let (state, options) = match &gateway.before {
        Some(before) => ("modifying", before),
        None => ("available", &gateway.options),
    };
    let options = options.iter().fold(Xml::default(), |xml, (name, value)| xml.text(name, value));
    Xml::default()
        .text("transitGatewayId", id)
        .text("transitGatewayArn", network.arn("transit-gateway", id))
        .text("state", state)
        .text("ownerId", &network.account)
        .text("description", &gateway.description)
        .nested("options", &options)
        .items("tagSet", tag_items(&gateway.tags))
}

fn describe_gateways(network: &mut Network, form: &Form) -> Answer {
    let (code, what) = ("InvalidTransitGatewayID.NotFound", "transitGateway ID");
    let all = &network.lan.gateways;
    let found = select(form, "TransitGatewayIds", all, code, what, |name, id, gateway| match name {
        "transit-gateway-id" => vec![id.to_owned()],
        _ => tag_filter(name, &gateway.tags),
    })?;
    let (page, next) = page(form, found)?;
    let items: Vec<Xml> = page.iter().map(|(id, gateway)| gateway_xml(network, id, gateway)).collect();
    let seen: Vec<String> = page.into_iter().map(|(id, _)| id.to_owned()).collect();
    for id in seen {
        if let Some(gateway) = network.lan.gateways.get_mut(&id) {
            gateway.before = None;
        }
    }
    Ok(Xml::default().items("transitGatewaySet", items).optional("nextToken", next))
}

fn modify_gateway(network: &mut Network, form: &Form) -> Answer {
    let id = required(form, "TransitGatewayId")?;
    let Some(gateway) = network.lan.gateways.get_mut(id) else {
        return Err(not_found("InvalidTransitGatewayID.NotFound", "transitGateway ID", id));
    };
    if gateway.before.is_some() {
        return Err(invalid("IncorrectState", format!("{id} is in invalid state")));
    }
    gateway.before = Some(gateway.options.clone());
    if let Some(description) = form.get("Description") {
        description.clone_into(&mut gateway.description);
    }
    for (name, answer, _) in OPTIONS {
        if let Some(value) = form.get(&format!("Options.{name}")) {
            gateway.options.insert(answer, value.to_owned());
        }
    }
    let gateway = network.lan.gateways.get(id);
    let xml = gateway.map(|gateway| gateway_xml(network, id, gateway)).unwrap_or_default();
    Ok(Xml::default().nested("transitGateway", &xml))
}

fn create_flow_logs(network: &mut Network, form: &Form) -> Answer {
    if required(form, "ResourceType")? != "VPC" {
        return Err(invalid("InvalidParameterValue", "The sandbox has flow logs of VPCs only."));
    }
    let traffic = required(form, "TrafficType")?;
    let kind = form.get("LogDestinationType").unwrap_or("cloud-watch-logs");
    let role = form.get("DeliverLogsPermissionArn");
    let destination = match (form.get("LogGroupName"), form.get("LogDestination")) {
        (Some(group), None) if kind == "cloud-watch-logs" => group,
        (None, Some(arn)) => arn,
        _ => return Err(invalid("InvalidParameter", "LogDestination or LogGroupName must be specified")),
    };
    if role.is_some() != (kind == "cloud-watch-logs") {
        let message = "DeliverLogsPermissionArn is for CloudWatch Logs, and is needed there";
        return Err(invalid("InvalidParameter", message));
    }
    let vpcs = form.list("ResourceId");
    for vpc in &vpcs {
        if !network.vpcs.contains_key(*vpc) {
            return Err(not_found("InvalidVpcId.NotFound", "vpc ID", vpc));
        }
        let same = |log: &FlowLog| {
            log.vpc == *vpc
                && log.traffic == traffic
                && log.destination_type == kind
                && log.destination == destination
        };
        if network.lan.flow_logs.values().any(same) {
            let message =
                "Error. There is an existing Flow Log with the same configuration and log destination.";
            return Err(invalid("FlowLogAlreadyExists", message));
        }
    }
    let interval = form.get("MaxAggregationInterval").and_then(|text| text.parse().ok()).unwrap_or(600);
    let mut made = Vec::new();
    for vpc in vpcs {
        let id = format!("fl-{}", short_id());
        let log = FlowLog {
            vpc: vpc.to_owned(),
            traffic: traffic.to_owned(),
            destination: destination.to_owned(),
            destination_type: kind.to_owned(),
            role: role.map(ToOwned::to_owned),
            format: form.get("LogFormat").unwrap_or(FORMAT).to_owned(),
            interval,
            tags: tags_for(form, "vpc-flow-log"),
        };
        network.lan.flow_logs.insert(id.clone(), log);
        made.push(id);
    }
    Ok(Xml::default()
        .optional("clientToken", form.get("ClientToken"))
        .list("flowLogIdSet", &made)
        .items("unsuccessful", []))
}

fn describe_flow_logs(network: &Network, form: &Form) -> Answer {
    let (code, what) = ("InvalidFlowLogId.NotFound", "flow log ID");
    let found = select(form, "FlowLogId", &network.lan.flow_logs, code, what, |name, id, log| match name {
        "flow-log-id" => vec![id.to_owned()],
        "resource-id" => vec![log.vpc.clone()],
        "traffic-type" => vec![log.traffic.clone()],
        _ => tag_filter(name, &log.tags),
    })?;
    let (page, next) = page(form, found)?;
    let items = page.into_iter().map(|(id, log)| {
        let by_name = log.destination_type == "cloud-watch-logs" && !log.destination.starts_with("arn:");
        Xml::default()
            .text("flowLogId", id)
            .text("flowLogStatus", "ACTIVE")
            .text("deliverLogsStatus", "SUCCESS")
            .text("resourceId", &log.vpc)
            .text("trafficType", &log.traffic)
            .text("logDestinationType", &log.destination_type)
            .text(if by_name { "logGroupName" } else { "logDestination" }, &log.destination)
            .optional("deliverLogsPermissionArn", log.role.as_ref())
            .text("logFormat", &log.format)
            .text("maxAggregationInterval", log.interval)
            .items("tagSet", tag_items(&log.tags))
    });
    Ok(Xml::default().items("flowLogSet", items).optional("nextToken", next))
}

/// A flow log that is not there is told beside those that are deleted, and is no error of the call.
fn delete_flow_logs(network: &mut Network, form: &Form) -> Xml {
    let mut missing = Vec::new();
    for id in form.list("FlowLogId") {
        if network.lan.flow_logs.remove(id).is_none() {
            let error = Xml::default()
                .text("code", "InvalidFlowLogId.NotFound")
                .text("message", "These flow log ids in the input list are not found");
            missing.push(Xml::default().text("resourceId", id).nested("error", &error));
        }
    }
    Xml::default().items("unsuccessful", missing)
}
