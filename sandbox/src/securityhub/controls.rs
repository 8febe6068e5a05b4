//! Security controls and their parameters.

use serde_json::{Map, Value, json};

use super::{ApiError, Caller, State, partition};

/// What Security Hub says of a control.
#[derive(Clone, Debug)]
pub(super) struct Control {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) severity: String,
    pub(super) description: String,
    pub(super) parameters: Map<String, Value>,
}

/// What is known of a control without asking: for its findings and for `BatchGetSecurityControls`.
pub(crate) struct BuiltIn {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) severity: &'static str,
    pub(crate) description: &'static str,
    pub(crate) config_rule: &'static str,
    /// Standards that include it, as in `Compliance.AssociatedStandards`.
    pub(crate) standards: &'static [&'static str],
    /// Its number in the standards that have numbers of their own: standard's slug and version, number.
    pub(crate) numbers: &'static [(&'static str, &'static str)],
}

const FSBP: &str = "standards/aws-foundational-security-best-practices/v/1.0.0";
const NIST_53: &str = "standards/nist-800-53/v/5.0.0";
const NIST_171: &str = "standards/nist-800-171/v/2.0.0";
const PCI_3: &str = "standards/pci-dss/v/3.2.1";
const PCI_4: &str = "standards/pci-dss/v/4.0.1";
const CIS_12: &str = "ruleset/cis-aws-foundations-benchmark/v/1.2.0";
const CIS_14: &str = "standards/cis-aws-foundations-benchmark/v/1.4.0";
const CIS_30: &str = "standards/cis-aws-foundations-benchmark/v/3.0.0";
const CIS_50: &str = "standards/cis-aws-foundations-benchmark/v/5.0.0";

/// The controls for which redress has remediators
/// ([reference](https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-controls-reference.html)).
pub(crate) const BUILT_IN: &[BuiltIn] = &[
    BuiltIn {
        id: "S3.1",
        title: "S3 general purpose buckets should have block public access settings enabled",
        severity: "MEDIUM",
        description: "This control checks whether the Amazon S3 block public access settings are configured at the account level. The control fails if one or more of the settings are set to false.",
        config_rule: "s3-account-level-public-access-blocks-periodic",
        standards: &[CIS_50, CIS_30, CIS_14, FSBP, NIST_53, PCI_3, PCI_4],
        numbers: &[
            ("cis-aws-foundations-benchmark/v/1.4.0", "2.1.5.1"),
            ("cis-aws-foundations-benchmark/v/3.0.0", "2.1.4"),
            ("cis-aws-foundations-benchmark/v/5.0.0", "2.1.4"),
            ("pci-dss/v/3.2.1", "PCI.S3.6"),
        ],
    },
    BuiltIn {
        id: "S3.2",
        title: "S3 general purpose buckets should block public read access",
        severity: "CRITICAL",
        description: "This control checks whether an Amazon S3 general purpose bucket permits public read access. The control fails if the bucket permits public read access.",
        config_rule: "s3-bucket-public-read-prohibited",
        standards: &[FSBP, PCI_3, NIST_53],
        numbers: &[("pci-dss/v/3.2.1", "PCI.S3.2")],
    },
    BuiltIn {
        id: "S3.3",
        title: "S3 general purpose buckets should block public write access",
        severity: "CRITICAL",
        description: "This control checks whether an Amazon S3 general purpose bucket permits public write access. The control fails if the bucket permits public write access.",
        config_rule: "s3-bucket-public-write-prohibited",
        standards: &[FSBP, PCI_3, NIST_53],
        numbers: &[("pci-dss/v/3.2.1", "PCI.S3.1")],
    },
    BuiltIn {
        id: "S3.5",
        title: "S3 general purpose buckets should require requests to use SSL",
        severity: "MEDIUM",
        description: "This control checks whether an Amazon S3 general purpose bucket has a policy that requires requests to use SSL. The control fails if the bucket policy doesn't require requests to use SSL.",
        config_rule: "s3-bucket-ssl-requests-only",
        standards: &[CIS_50, CIS_30, CIS_14, FSBP, NIST_53, NIST_171, PCI_3, PCI_4],
        numbers: &[
            ("cis-aws-foundations-benchmark/v/1.4.0", "2.1.2"),
            ("cis-aws-foundations-benchmark/v/3.0.0", "2.1.1"),
            ("cis-aws-foundations-benchmark/v/5.0.0", "2.1.1"),
            ("pci-dss/v/3.2.1", "PCI.S3.5"),
        ],
    },
    BuiltIn {
        id: "S3.8",
        title: "S3 general purpose buckets should block public access",
        severity: "HIGH",
        description: "This control checks whether an Amazon S3 general purpose bucket blocks public access at the bucket level. The control fails if any of the block public access settings are set to false.",
        config_rule: "s3-bucket-level-public-access-prohibited",
        standards: &[CIS_50, CIS_30, CIS_14, FSBP, NIST_53, PCI_4],
        numbers: &[
            ("cis-aws-foundations-benchmark/v/1.4.0", "2.1.5.2"),
            ("cis-aws-foundations-benchmark/v/3.0.0", "2.1.4"),
            ("cis-aws-foundations-benchmark/v/5.0.0", "2.1.4"),
        ],
    },
    BuiltIn {
        id: "S3.10",
        title: "S3 general purpose buckets with versioning enabled should have Lifecycle configurations",
        severity: "MEDIUM",
        description: "This control checks whether an Amazon S3 general purpose versioned bucket has a Lifecycle configuration. The control fails if the bucket doesn't have a Lifecycle configuration.",
        config_rule: "s3-version-lifecycle-policy-check",
        standards: &[NIST_53],
        numbers: &[],
    },
    BuiltIn {
        id: "S3.13",
        title: "S3 general purpose buckets should have Lifecycle configurations",
        severity: "LOW",
        description: "This control checks whether an Amazon S3 general purpose bucket has a Lifecycle configuration. The control fails if the bucket doesn't have a Lifecycle configuration.",
        config_rule: "s3-lifecycle-policy-check",
        standards: &[FSBP, NIST_53],
        numbers: &[],
    },
    BuiltIn {
        id: "S3.14",
        title: "S3 general purpose buckets should have versioning enabled",
        severity: "LOW",
        description: "This control checks whether an Amazon S3 general purpose bucket has versioning enabled. The control fails if versioning is suspended for the bucket.",
        config_rule: "s3-bucket-versioning-enabled",
        standards: &[NIST_53, NIST_171],
        numbers: &[],
    },
    BuiltIn {
        id: "EC2.12",
        title: "Unused EC2 EIPs should be removed",
        severity: "LOW",
        description: "This control checks whether Elastic IP (EIP) addresses that are allocated to a virtual private cloud (VPC) are attached to EC2 instances or in-use elastic network interfaces (ENIs).",
        config_rule: "eip-attached",
        standards: &[PCI_3, NIST_53],
        numbers: &[("pci-dss/v/3.2.1", "PCI.EC2.4")],
    },
    BuiltIn {
        id: "EC2.13",
        title: "Security groups should not allow ingress from 0.0.0.0/0 or ::/0 to port 22",
        severity: "HIGH",
        description: "This control checks whether an Amazon EC2 security group allows ingress from 0.0.0.0/0 or ::/0 to port 22. The control fails if the security group allows ingress from 0.0.0.0/0 or ::/0 to port 22.",
        config_rule: "restricted-ssh",
        standards: &[CIS_12, PCI_3, PCI_4, NIST_53, NIST_171],
        numbers: &[("cis-aws-foundations-benchmark/v/1.2.0", "4.1"), ("pci-dss/v/3.2.1", "PCI.EC2.5")],
    },
    BuiltIn {
        id: "EC2.14",
        title: "Security groups should not allow ingress from 0.0.0.0/0 or ::/0 to port 3389",
        severity: "HIGH",
        description: "This control checks whether an Amazon EC2 security group allows ingress from 0.0.0.0/0 or ::/0 to port 3389. The control fails if the security group allows ingress from 0.0.0.0/0 or ::/0 to port 3389.",
        config_rule: "restricted-common-ports",
        standards: &[CIS_12, PCI_4],
        numbers: &[("cis-aws-foundations-benchmark/v/1.2.0", "4.2")],
    },
    BuiltIn {
        id: "EC2.18",
        title: "Security groups should only allow unrestricted incoming traffic for authorized ports",
        severity: "HIGH",
        description: "This control checks whether an Amazon EC2 security group permits unrestricted incoming traffic from unauthorized ports.",
        config_rule: "vpc-sg-open-only-to-authorized-ports",
        standards: &[FSBP, NIST_53, NIST_171],
        numbers: &[],
    },
    BuiltIn {
        id: "EC2.19",
        title: "Security groups should not allow unrestricted access to ports with high risk",
        severity: "CRITICAL",
        description: "This control checks whether unrestricted incoming traffic for an Amazon EC2 security group is accessible to the specified ports that are considered to be high risk.",
        config_rule: "restricted-common-ports",
        standards: &[FSBP, NIST_53, NIST_171],
        numbers: &[],
    },
];

/// The default parameters of the built-in controls that have any.
fn default_parameters(control: &str) -> Map<String, Value> {
    let parameters = match control {
        "EC2.18" => json!({
            "authorizedTcpPorts": { "ValueType": "DEFAULT", "Value": { "IntegerList": [80, 443] } },
            "authorizedUdpPorts": { "ValueType": "DEFAULT", "Value": { "IntegerList": [] } },
        }),
        // Without a value: by default any lifecycle configuration passes.
        "S3.13" => json!({
            "targetTransitionDays": { "ValueType": "DEFAULT" },
            "targetExpirationDays": { "ValueType": "DEFAULT" },
            "targetTransitionStorageClass": { "ValueType": "DEFAULT" },
        }),
        _ => Value::Null,
    };
    parameters.as_object().cloned().unwrap_or_default()
}

impl State {
    fn control(&self, id: &str) -> Option<Control> {
        self.controls.iter().find(|control| control.id == id).cloned().or_else(|| {
            BUILT_IN.iter().find(|control| control.id == id).map(|control| Control {
                id: id.to_owned(),
                title: control.title.to_owned(),
                severity: control.severity.to_owned(),
                description: control.description.to_owned(),
                parameters: default_parameters(id),
            })
        })
    }

    /// The severity that a failed check of a control has.
    pub(super) fn severity_of(&self, control: &str) -> Option<String> {
        self.control(control).map(|control| control.severity)
    }

    pub(super) fn set_parameters(
        &mut self,
        account: &str,
        region: &str,
        control: &str,
        parameters: &Value,
    ) -> Result<(), String> {
        if self.control(control).is_none() {
            return Err(format!("there is no control `{control}`"));
        }
        let given = parameters.as_object().ok_or("parameters must be an object")?;
        for (name, configuration) in given {
            if !matches!(configuration.get("ValueType").and_then(Value::as_str), Some("DEFAULT" | "CUSTOM")) {
                return Err(format!("parameter `{name}` needs a `ValueType` of DEFAULT or CUSTOM"));
            }
        }
        let key = (account.to_owned(), region.to_owned(), control.to_owned());
        self.parameters.insert(key, given.clone());
        Ok(())
    }

    pub(super) fn batch_get_security_controls(
        &self,
        caller: &Caller,
        input: &Value,
    ) -> Result<Value, ApiError> {
        let Some(ids) = input.get("SecurityControlIds").and_then(Value::as_array) else {
            return Err(ApiError::invalid_input("data should have required property 'SecurityControlIds'"));
        };
        if ids.is_empty() || ids.len() > 100 {
            return Err(ApiError::invalid_input(
                "Invalid parameter 'SecurityControlIds'. data should have between 1 and 100 items",
            ));
        }
        let Caller { account, region, .. } = caller;
        let prefix = format!("arn:{}:securityhub:{region}:{account}:security-control/", partition(region));
        let (mut found, mut unprocessed) = (Vec::new(), Vec::new());
        for asked in ids {
            let asked = asked.as_str().unwrap_or_default();
            let id = asked.strip_prefix(&prefix).unwrap_or(asked);
            let Some(control) = self.control(id) else {
                unprocessed.push(json!({
                    "SecurityControlId": asked,
                    "ErrorCode": "NOT_FOUND",
                    "ErrorReason": format!("Security control {asked} was not found"),
                }));
                continue;
            };
            let mut parameters = control.parameters;
            if let Some(set) = self.parameters.get(&(account.clone(), region.clone(), id.to_owned())) {
                parameters.extend(set.clone());
            }
            found.push(json!({
                "SecurityControlId": id,
                "SecurityControlArn": format!("{prefix}{id}"),
                "Title": control.title,
                "Description": control.description,
                "RemediationUrl": format!("https://docs.aws.amazon.com/console/securityhub/{id}/remediation"),
                "SeverityRating": control.severity,
                "SecurityControlStatus": "ENABLED",
                "UpdateStatus": "READY",
                "Parameters": parameters,
            }));
        }
        Ok(json!({ "SecurityControls": found, "UnprocessedIds": unprocessed }))
    }
}
