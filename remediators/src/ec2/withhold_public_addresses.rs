//! Ends that a subnet gives public addresses to whatever starts in it.

use aws_sdk_ec2::types::AttributeBooleanValue;

use super::network::Subnet;
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct WithholdPublicAddresses;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Addressing {
    /// Whether what starts in the subnet gets a public IPv4 address, unless it says otherwise itself.
    map_public_ip_on_launch: bool,
}

impl Remediator for WithholdPublicAddresses {
    const SPEC: Spec = Spec {
        name: "ec2.withhold_public_addresses",
        version: 1,
        controls: &["EC2.15"],
        // https://docs.aws.amazon.com/vpc/latest/userguide/subnet-public-ip.html
        risk: Risk::Downtime,
        what: "Turns off that the subnet gives a public IPv4 address to every network interface that an \
               instance is launched with. Addresses that were given stay, and a launch that asks for one by \
               itself still gets one.",
        who_notices: "Whoever launches into the subnet and counts on the address: Auto Scaling groups, node \
                      groups of EKS and the like replace what works by instances that reach the internet no \
                      more, unless their route leads through a NAT gateway.",
        way_back: "Turns it on again. What was launched meanwhile stays without an address.",
        reads: &[],
        writes: &[Action::new("ec2:ModifySubnetAttribute", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Subnet;
    type Params = NoParams;
    type State = Addressing;

    async fn observe(aws: &Aws, at: &Subnet) -> Result<Addressing> {
        match at.read(aws).await?.map_public_ip_on_launch() {
            Some(map_public_ip_on_launch) => Ok(Addressing { map_public_ip_on_launch }),
            None => Err(Error::new(
                ErrorKind::Rejected,
                "AWS does not say whether the subnet gives public addresses",
            )),
        }
    }

    fn plan(now: &Addressing, _: &Ask<'_, NoParams>) -> Plan<Addressing> {
        if !now.map_public_ip_on_launch {
            return Plan::Compliant;
        }
        let to = Addressing { map_public_ip_on_launch: false };
        let notes = vec![
            "what is launched from now on gets a public IPv4 address only where the launch asks for one"
                .to_owned(),
        ];
        Plan::Change(Proposal { to, risk: Risk::Downtime, notes })
    }

    async fn apply(aws: &Aws, at: &Subnet, change: &Change<Addressing>) -> Result<()> {
        let value = AttributeBooleanValue::builder().value(change.to.map_public_ip_on_launch).build();
        // One attribute a call: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifySubnetAttribute.html
        let request = aws.ec2().modify_subnet_attribute().subnet_id(&at.id);
        request.map_public_ip_on_launch(value).send().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    const fn state(map_public_ip_on_launch: bool) -> Addressing {
        Addressing { map_public_ip_on_launch }
    }

    #[test]
    fn turns_it_off_and_on_again() {
        let plan = |now: &Addressing| WithholdPublicAddresses::plan(now, &ask("EC2.15", &NoParams {}));
        assert_eq!(plan(&state(false)), Plan::Compliant);
        let Plan::Change(change) = plan(&state(true)) else { panic!("no change") };
        assert_eq!((change.to.clone(), change.risk), (state(false), Risk::Downtime));
        let change = Change { from: state(true), to: change.to };
        assert!(matches!(
            WithholdPublicAddresses::undo(&change, &state(false)),
            Undo::To { to, .. } if to == state(true)
        ));
        assert_eq!(WithholdPublicAddresses::undo(&change, &state(true)), Undo::Nothing);
    }
}
