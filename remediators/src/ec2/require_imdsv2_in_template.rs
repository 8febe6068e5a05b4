//! Requires session tokens of whoever asks the metadata service of an instance launched from a template.

use std::fmt::Write as _;

use aws_sdk_ec2::types::{
    LaunchTemplateHttpTokensState as Tokens, LaunchTemplateInstanceMetadataEndpointState as Endpoint,
    LaunchTemplateInstanceMetadataOptions as Options, LaunchTemplateInstanceMetadataOptionsRequest,
    LaunchTemplateInstanceMetadataProtocolIpv6 as Ipv6,
    LaunchTemplateInstanceMetadataTagsState as MetadataTags, LaunchTemplateVersion,
    RequestLaunchTemplateData, ResponseLaunchTemplateData,
};

use super::{launch_template::LaunchTemplate, tag_map};
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct RequireImdsv2InTemplate;

/// A rule's parameters.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Make the version that requires tokens the default: whatever launches the default version uses it from then
    /// on. Nothing is changed without this, since the control looks at the default version alone.
    set_default: bool,
    /// Also where the default version is not the latest: the new version is a copy of the default, and
    /// whatever launches `$Latest` gets that copy instead.
    replace_latest: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Template {
    /// The number of the default version.
    default: i64,
    /// Whether the default version requires tokens.
    tokens_required: bool,
    /// The number of the latest version. Read, never altered save by a new version.
    #[serde(default)]
    latest: i64,
    /// The latest version that is the default one but for requiring tokens. Read.
    #[serde(default)]
    alike: Option<i64>,
    /// Whether the metadata service is turned off in the default version. Read, never altered.
    #[serde(default)]
    disabled: bool,
    /// Why a version can't be made from the default one. Read.
    #[serde(default)]
    obstacle: Option<String>,
}

impl Remediator for RequireImdsv2InTemplate {
    const SPEC: Spec = Spec {
        name: "ec2.require_imdsv2_in_template",
        version: 1,
        controls: &["EC2.170"],
        risk: Risk::Access,
        what: "Makes a version of the launch template that is its default version in all but one thing: it requires \
               version 2 of the instance metadata service (`HttpTokens: required`). Then makes it the default. \
               Where there is such a version already, that is taken. Instances that run are not changed.",
        who_notices: "Software on instances launched from now on from the default version, or from `$Latest`, that \
                      asks for metadata without a session token: it gets no credentials. Auto Scaling groups and \
                      fleets that name a version by its number notice nothing. Whoever keeps the template in code \
                      sees a version there that is not theirs.",
        way_back: "Makes the version the default that was it before. The new version stays, and `$Latest` still \
                   means it: whether anything names it by its number can't be known.",
        reads: &[
            Action::new("ec2:DescribeLaunchTemplates", On::Region),
            Action::new("ec2:DescribeLaunchTemplateVersions", On::Region),
        ],
        writes: &[
            Action::new("ec2:CreateLaunchTemplateVersion", On::Resource),
            Action::new("ec2:ModifyLaunchTemplate", On::Resource),
        ],
        undo: &[],
        implied: &[],
    };
    type Resource = LaunchTemplate;
    type Params = Params;
    type State = Template;

    async fn observe(aws: &Aws, at: &LaunchTemplate) -> Result<Template> {
        let (template, versions) = tokio::join!(at.describe(aws), at.versions(aws));
        let (template, versions) = (template?, versions?);
        let unclear =
            |what: &str| Error::new(ErrorKind::Transient, format!("the launch template names no {what}"));
        let default = template.default_version_number.ok_or_else(|| unclear("default version"))?;
        let latest = template.latest_version_number.ok_or_else(|| unclear("latest version"))?;
        let data = data_of(&versions, default).ok_or_else(|| unclear("content of its default version"))?;
        let alike = alike(&versions, data);
        let options = data.metadata_options();
        let tags = tag_map(template.tags());
        let obstacle = if let Some(operator) = template.operator.filter(|by| by.managed == Some(true)) {
            let principal = operator.principal.unwrap_or_default();
            Some(format!("`{}` manages it", principal.escape_debug()))
        } else if tags.contains_key("eks:nodegroup-name") {
            // https://docs.aws.amazon.com/eks/latest/userguide/troubleshooting.html (Ec2LaunchTemplateVersionMismatch)
            Some("EKS made it for a node group, and takes any other version for a fault".to_owned())
        } else if names_snapshots(data) {
            // https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplateVersion.html
            Some(
                "its default version names snapshots for block devices, which a version made from it would lose"
                    .to_owned(),
            )
        } else if alike.is_none()
            && let Some(other) =
                versions.iter().find(|version| version.version_description() == Some(&description(default)))
        {
            // Another one would come out no better.
            let number = other.version_number().unwrap_or_default();
            Some(format!("version {number} was made from {default} for this, and differs from it otherwise"))
        } else {
            None
        };
        Ok(Template {
            default,
            tokens_required: requires_tokens(data),
            latest,
            alike,
            disabled: options.and_then(Options::http_endpoint) == Some(&Endpoint::Disabled),
            obstacle,
        })
    }

    fn plan(now: &Template, ask: &Ask<'_, Params>) -> Plan<Template> {
        // "the currently set default version":
        // https://docs.aws.amazon.com/config/latest/developerguide/ec2-launch-template-imdsv2-check.html
        if now.tokens_required {
            return Plan::Compliant;
        }
        if let Some(why) = &now.obstacle {
            return Plan::Refuse(why.clone());
        }
        let was = now.default;
        if !ask.params.set_default {
            return Plan::Refuse(format!(
                "the control looks at the default version, and something may rely on that being {was}; the rule \
                 can say `set_default`"
            ));
        }
        let (number, latest, mut note) = match now.alike {
            Some(alike) => (alike, now.latest, format!("version {alike} is as {was} and requires tokens")),
            None if now.latest != was && !ask.params.replace_latest => {
                return Plan::Refuse(format!(
                    "the latest version is {}, not the default {was}: whatever launches `$Latest` would get a \
                     copy of {was}; the rule can say `replace_latest`",
                    now.latest
                ));
            }
            None => {
                let next = now.latest.saturating_add(1);
                (next, next, format!("version {next} will be made from {was}, and be `$Latest`"))
            }
        };
        // Writing to a string does not fail.
        let _ = write!(note, "; whatever launches the default version gets {number} from now on");
        let mut notes = vec![note];
        let risk = if now.disabled {
            notes.push("its metadata service is turned off: nobody can be using it".to_owned());
            Risk::None
        } else {
            notes.push(
                "software on new instances that asks for metadata without a token gets no credentials"
                    .to_owned(),
            );
            Risk::Access
        };
        let to =
            Template { default: number, tokens_required: true, latest, alike: Some(number), ..now.clone() };
        Plan::Change(Proposal { to, risk, notes })
    }

    async fn apply(aws: &Aws, at: &LaunchTemplate, change: &Change<Template>) -> Result<()> {
        let default = change.to.default;
        if default > change.from.latest {
            let number = make(aws, at, change.from.default).await?;
            if number != default {
                let why = format!("the version is {number}, not {default}: somebody else made one as well");
                return Err(Error::new(ErrorKind::Drifted, why));
            }
        }
        let request = aws.ec2().modify_launch_template().launch_template_id(&at.id);
        request.default_version(default.to_string()).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Template>, now: &Template) -> Undo<Template> {
        let (before, ours) = (change.from.default, change.to.default);
        if now.default == before {
            return Undo::Nothing;
        }
        if now.default != ours {
            return Undo::Refuse(format!("the default version is {} since, not {ours}", now.default));
        }
        let to = Template { default: before, tokens_required: change.from.tokens_required, ..now.clone() };
        Undo::To { to, notes: vec![format!("version {ours} stays, and `$Latest` may mean it")] }
    }
}

/// The number of a version that is this one but for requiring tokens: a new one, or one that a run made that
/// was cut off.
async fn make(aws: &Aws, at: &LaunchTemplate, source: i64) -> Result<i64> {
    let versions = at.versions(aws).await?;
    let gone = || Error::new(ErrorKind::Drifted, format!("version {source} does not exist any more"));
    let data = data_of(&versions, source).ok_or_else(gone)?;
    if let Some(number) = alike(&versions, data) {
        return Ok(number);
    }
    // A parameter that is given replaces that of the source as a whole, so all options are.
    let options = data.metadata_options();
    let options = LaunchTemplateInstanceMetadataOptionsRequest::builder()
        .http_tokens(Tokens::Required)
        .set_http_put_response_hop_limit(options.and_then(Options::http_put_response_hop_limit))
        .set_http_endpoint(options.and_then(Options::http_endpoint).cloned())
        .set_http_protocol_ipv6(options.and_then(Options::http_protocol_ipv6).cloned())
        .set_instance_metadata_tags(options.and_then(Options::instance_metadata_tags).cloned())
        .build();
    let made = aws
        .ec2()
        .create_launch_template_version()
        .launch_template_id(&at.id)
        .source_version(source.to_string())
        .version_description(description(source))
        .launch_template_data(RequestLaunchTemplateData::builder().metadata_options(options).build())
        .send()
        .await?;
    let version = made.launch_template_version();
    let number = version.and_then(LaunchTemplateVersion::version_number).unwrap_or_default();
    if version.and_then(LaunchTemplateVersion::launch_template_data).is_some_and(|made| is_alike(made, data))
    {
        return Ok(number);
    }
    let why = format!("AWS has made version {number} otherwise than {source} is: it is not made the default");
    Err(Error::new(ErrorKind::Rejected, why))
}

/// What a version of ours is known by.
fn description(source: i64) -> String {
    format!("Version {source}, requiring IMDSv2 (redress)")
}

fn data_of(versions: &[LaunchTemplateVersion], number: i64) -> Option<&ResponseLaunchTemplateData> {
    versions
        .iter()
        .find(|version| version.version_number() == Some(number))
        .and_then(LaunchTemplateVersion::launch_template_data)
}

fn requires_tokens(data: &ResponseLaunchTemplateData) -> bool {
    data.metadata_options().and_then(Options::http_tokens) == Some(&Tokens::Required)
}

fn names_snapshots(data: &ResponseLaunchTemplateData) -> bool {
    data.block_device_mappings().iter().any(|device| {
        device.ebs().and_then(|ebs| ebs.snapshot_id()).is_some_and(|snapshot| !snapshot.is_empty())
    })
}

/// The latest version that is as `data`, but for requiring tokens.
fn alike(versions: &[LaunchTemplateVersion], data: &ResponseLaunchTemplateData) -> Option<i64> {
    versions
        .iter()
        .filter(|version| version.launch_template_data().is_some_and(|other| is_alike(other, data)))
        .filter_map(LaunchTemplateVersion::version_number)
        .max()
}

/// Whether `version` is as `data`, but for requiring tokens.
fn is_alike(version: &ResponseLaunchTemplateData, data: &ResponseLaunchTemplateData) -> bool {
    /// What a template says besides of its metadata service; what it doesn't say is AWS's default.
    fn rest(
        options: Option<&Options>,
    ) -> (Option<i32>, Option<&Endpoint>, Option<&Ipv6>, Option<&MetadataTags>) {
        (
            options.and_then(Options::http_put_response_hop_limit),
            options.and_then(Options::http_endpoint),
            options.and_then(Options::http_protocol_ipv6),
            options.and_then(Options::instance_metadata_tags),
        )
    }
    let without = |data: &ResponseLaunchTemplateData| {
        let mut data = data.clone();
        data.metadata_options = None;
        data
    };
    requires_tokens(version)
        && rest(version.metadata_options()) == rest(data.metadata_options())
        && without(version) == without(data)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use aws_sdk_ec2::types::{LaunchTemplateBlockDeviceMapping, LaunchTemplateEbsBlockDevice};

    use super::*;
    use crate::remediator::test::ask;

    const ALL: Params = Params { set_default: true, replace_latest: true };

    fn state(default: i64, latest: i64) -> Template {
        Template { default, tokens_required: false, latest, alike: None, disabled: false, obstacle: None }
    }

    fn plan(now: &Template, params: &Params) -> Plan<Template> {
        RequireImdsv2InTemplate::plan(now, &ask("EC2.170", params))
    }

    #[test]
    fn the_default_moves_only_where_the_rule_says_so() {
        let good = Template { tokens_required: true, ..state(1, 1) };
        assert_eq!(plan(&good, &Params::default()), Plan::Compliant);
        assert!(
            matches!(plan(&state(1, 1), &Params::default()), Plan::Refuse(why) if why.contains("`set_default`"))
        );
        let only_default = Params { set_default: true, replace_latest: false };
        let Plan::Change(change) = plan(&state(1, 1), &only_default) else { panic!("no change") };
        assert_eq!((change.to.default, change.to.latest, change.risk), (2, 2, Risk::Access));
        assert_eq!(plan(&change.to, &Params::default()), Plan::Compliant);
        assert!(
            matches!(plan(&state(1, 4), &only_default), Plan::Refuse(why) if why.contains("`replace_latest`"))
        );
        let Plan::Change(change) = plan(&state(1, 4), &ALL) else { panic!("no change") };
        assert_eq!((change.to.default, change.to.latest), (5, 5));
    }

    #[test]
    fn a_version_that_is_there_is_taken() {
        let now = Template { alike: Some(3), ..state(1, 4) };
        let Plan::Change(change) = plan(&now, &Params { set_default: true, replace_latest: false }) else {
            panic!("no change")
        };
        assert_eq!((change.to.default, change.to.latest), (3, 4));
    }

    #[test]
    fn what_stands_in_the_way_is_named_and_a_service_that_is_off_is_no_risk() {
        let now = Template { obstacle: Some("EKS made it".to_owned()), ..state(1, 1) };
        assert!(matches!(plan(&now, &ALL), Plan::Refuse(why) if why.contains("EKS")));
        let off = Template { disabled: true, ..state(1, 1) };
        assert!(
            matches!(plan(&off, &ALL), Plan::Change(change) if change.risk == Risk::None && change.to.disabled)
        );
    }

    #[test]
    fn undo_moves_the_default_back_unless_somebody_moved_it_on() {
        let to = Template { tokens_required: true, alike: Some(2), ..state(2, 2) };
        let change = Change { from: state(1, 1), to: to.clone() };
        let undo = |now: &Template| RequireImdsv2InTemplate::undo(&change, now);
        let grown = Template { latest: 3, ..to };
        let Undo::To { to, .. } = undo(&grown) else { panic!("no way back") };
        assert_eq!((to.default, to.tokens_required, to.latest), (1, false, 3));
        assert_eq!(undo(&state(1, 2)), Undo::Nothing);
        assert!(matches!(undo(&state(3, 3)), Undo::Refuse(why) if why.contains('3')));
    }

    #[test]
    fn alike_is_what_differs_in_tokens_alone() {
        let options = |tokens, hops| {
            Options::builder().set_http_tokens(tokens).http_put_response_hop_limit(hops).build()
        };
        let data = |image: &str, options: Option<Options>| {
            ResponseLaunchTemplateData::builder().image_id(image).set_metadata_options(options).build()
        };
        let source = data("ami-1", Some(options(Some(Tokens::Optional), 2)));
        assert!(is_alike(&data("ami-1", Some(options(Some(Tokens::Required), 2))), &source));
        for other in [
            data("ami-2", Some(options(Some(Tokens::Required), 2))),
            data("ami-1", Some(options(Some(Tokens::Required), 1))),
            data("ami-1", Some(options(None, 2))),
            data("ami-1", None),
            source.clone(),
        ] {
            assert!(!is_alike(&other, &source), "{other:?}");
        }
        let none = data("ami-1", None);
        assert!(is_alike(
            &data("ami-1", Some(Options::builder().http_tokens(Tokens::Required).build())),
            &none
        ));
    }

    #[test]
    fn a_disk_from_a_snapshot_is_seen() {
        let disk = |snapshot: Option<&str>| {
            let ebs = LaunchTemplateEbsBlockDevice::builder().set_snapshot_id(snapshot.map(str::to_owned));
            let device = LaunchTemplateBlockDeviceMapping::builder().ebs(ebs.build()).build();
            ResponseLaunchTemplateData::builder().block_device_mappings(device).build()
        };
        assert!(names_snapshots(&disk(Some("snap-1"))));
        assert!(!names_snapshots(&disk(None)));
    }

    #[test]
    fn records_of_its_state_stay_readable() {
        let stored = r#"{"default":1,"tokens_required":false,"latest":1,"alike":null,"disabled":false,"obstacle":null}"#;
        assert_eq!(serde_json::to_string(&state(1, 1)).unwrap(), stored);
        let first: Template = serde_json::from_str(r#"{"default":1,"tokens_required":false}"#).unwrap();
        assert_eq!(first, state(1, 0));
    }
}
