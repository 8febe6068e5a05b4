//! Makes a bucket encrypt new objects with a KMS key.

use std::collections::BTreeSet;

use roxmltree::{Document, Node};

use super::bucket::Bucket;
use crate::{
    body::{Answer, Body},
    prelude::*,
    raw,
    remediator::Proposal,
    resource::Arn,
};

const DEFAULT: &str = "ApplyServerSideEncryptionByDefault";
const BUCKET_KEY: &str = "BucketKeyEnabled";

/// What S3 does where nothing is configured, which for buckets made since 2023 is written down as well:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/default-encryption-faq.html>.
const UNCONFIGURED: &str = "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>\
                            </ApplyServerSideEncryptionByDefault></Rule>";

/// Who delivers logs only where S3's own keys encrypt them, as bucket policies name them: services, and in the Regions
/// from before August 2022 the accounts of Elastic Load Balancing.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshooting-server-access-logging.html>,
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html>,
/// <https://docs.aws.amazon.com/redshift/latest/mgmt/db-auditing.html>.
const LOGGERS: [&str; 30] = [
    "logging.s3.amazonaws.com",
    "logdelivery.elasticloadbalancing.amazonaws.com",
    "logdelivery.elb.amazonaws.com",
    "redshift.amazonaws.com",
    "009996457667",
    "027434742980",
    "033677994240",
    "037604701340",
    "048591011584",
    "054676820928",
    "076674570225",
    "098369216593",
    "114774131450",
    "127311923021",
    "156460612806",
    "190560391635",
    "383597477331",
    "507241528517",
    "582318560864",
    "589379963580",
    "600734575887",
    "635631232127",
    "638102146993",
    "652711504416",
    "718504428378",
    "754344448648",
    "783225319266",
    "797873946194",
    "897822967062",
    "985666609251",
];

/// The user of AWS's that older policies name for Redshift, in an account for each Region.
const AUDITOR: &str = "user/logs";

/// The service that delivers flow logs and others from an account of AWS's, which can't use the AWS managed key:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-vended-logs-permissions-V2.html>.
const VENDED: &str = "delivery.logs.amazonaws.com";

/// `awslogsdelivery`, whom `CloudFront`'s standard logging (legacy) enters in the ACL; the second one is China's.
/// Where a key of the bucket's owner encrypts, [`VENDED`] needs it:
/// <https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/AccessLogs.html>,
/// <https://docs.amazonaws.cn/en_us/AmazonCloudFront/latest/DeveloperGuide/AccessLogs.html>.
const CLOUDFRONT: [&str; 2] = [
    "c4c1ede66af53448b93c283ce9448c4ba468c9432aa01d700d3878632f77d2d0",
    "a52cb28745c0c06e84ec548334e44bfa7fc2a85c54af20cd59e4969344b7af56",
];

/// The group of the ACL that an older access log is delivered by:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html>.
const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";

pub(crate) struct EncryptWithKms;

/// What a rule may set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// The KMS key: its ARN, its id, or an alias (`alias/…`, or the alias's ARN), in the bucket's Region. Without it
    /// the AWS managed key `alias/aws/s3` encrypts, which no other account can use.
    kms_key: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Encryption {
    /// The elements of the configuration, byte for byte as S3 returned them.
    rules: Vec<String>,
    /// What the ARNs of the account's own keys in the bucket's Region begin with. Read, never altered.
    #[serde(default)]
    keys: String,
    /// Who delivers logs to the bucket, of those who can't where KMS encrypts. Read, never altered.
    #[serde(default)]
    loggers: Vec<String>,
    /// Whether logs come from an account of AWS's, which can use the rule's key alone. Read, never altered.
    #[serde(default)]
    vended: bool,
}

impl PartialEq for Encryption {
    fn eq(&self, other: &Self) -> bool {
        let forms = |state: &Self| state.rules.iter().map(|rule| form(rule)).collect::<Vec<_>>();
        self.keys == other.keys
            && self.loggers == other.loggers
            && self.vended == other.vended
            && forms(self) == forms(other)
    }
}

/// A rule in normal form. A bucket key that is off may be written down or not.
fn form(rule: &str) -> String {
    let off = |node: Node<'_, '_>| {
        node.tag_name().name() == BUCKET_KEY && node.text().is_some_and(|text| text.trim() == "false")
    };
    raw::normal(rule, off).unwrap_or_else(|| rule.to_owned())
}

fn is_ours(element: &str) -> bool {
    Document::parse(element)
        .is_ok_and(|tree| [DEFAULT, BUCKET_KEY].contains(&tree.root_element().tag_name().name()))
}

/// A rule of these elements for what a fix sets, and all else that is in `rule`, byte for byte.
fn with(rule: &str, ours: &[String]) -> Result<String> {
    let beside: Vec<String> = raw::elements(rule, "Rule")?.into_iter().filter(|one| !is_ours(one)).collect();
    Ok(format!("<Rule>{}{}</Rule>", ours.concat(), beside.concat()))
}

/// The elements of `rule` that a fix sets.
fn ours(rule: &str) -> Result<Vec<String>> {
    Ok(raw::elements(rule, "Rule")?.into_iter().filter(|one| is_ours(one)).collect())
}

/// The one rule that there can be.
fn only(state: &Encryption) -> Result<&str, String> {
    match state.rules.as_slice() {
        [rule] => Ok(rule),
        rules => {
            Err(format!("the bucket's default encryption has {} rules, and S3 knows of one", rules.len()))
        }
    }
}

/// The algorithm of a rule.
fn algorithm(rule: &str) -> Option<String> {
    let tree = Document::parse(rule).ok()?;
    let default = raw::child(tree.root_element(), DEFAULT)?;
    raw::text(default, "SSEAlgorithm").map(|text| text.trim().to_owned())
}

/// Those of [`LOGGERS`], and of Redshift's users, whom a bucket policy names.
fn loggers(policy: &str, own: &str) -> Vec<String> {
    // A user of the bucket's own account is not AWS's, whatever the name.
    let auditor = |text: &&str| {
        Arn::parse(text)
            .is_some_and(|arn| arn.service == "iam" && arn.resource == AUDITOR && arn.account != own)
    };
    // A policy names each in several statements.
    let auditors: BTreeSet<&str> = policy.split('"').filter(auditor).collect();
    let named = LOGGERS.into_iter().filter(|logger| policy.contains(logger)).map(str::to_owned);
    named.chain(auditors.into_iter().map(str::to_owned)).collect()
}

/// The ARN of a key that a rule names in any form; S3 would look up a bare alias in the account of whoever uploads:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ServerSideEncryptionByDefault.html>.
fn arn(key: &str, own: &str) -> Result<String, String> {
    let legal = |id: &str| {
        !id.is_empty()
            && id.len() <= 256
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte))
    };
    let named = |id: &str| match id.split_once('/') {
        Some(("key", id)) => legal(id) && !id.contains('/'),
        Some(("alias", id)) => legal(id),
        _ => false,
    };
    let fault = |why: &str| format!("`kms_key` is `{}`, {why}", excerpt(key));
    if let Some(arn) = Arn::parse(key) {
        let home = Arn::parse(own);
        if home.is_none_or(|own| (own.partition, own.region) != (arn.partition, arn.region)) {
            return Err(fault("and S3 takes keys of the bucket's own Region alone"));
        }
        let account = arn.account.len() == 12 && arn.account.bytes().all(|byte| byte.is_ascii_digit());
        return if arn.service == "kms" && account && named(arn.resource) {
            Ok(key.to_owned())
        } else {
            Err(fault("no ARN of a KMS key or alias"))
        };
    }
    let prefix = own.strip_suffix("key").unwrap_or(own);
    if key.starts_with("alias/") && named(key) {
        Ok(format!("{prefix}{key}"))
    } else if legal(key) && !key.contains('/') {
        Ok(format!("{prefix}key/{key}"))
    } else {
        Err(fault("neither ARN nor id of a KMS key, nor an alias"))
    }
}

impl Remediator for EncryptWithKms {
    const SPEC: Spec = Spec {
        name: "s3.encrypt_with_kms",
        version: 1,
        controls: &["S3.17"],
        risk: Risk::Access,
        what: "Sets the bucket's default encryption to SSE-KMS, with the key that the rule names or else the AWS \
               managed key `aws/s3`, and turns on the bucket key, which saves most calls to KMS. What else the \
               configuration says is sent back byte for byte. Objects that are there stay as they are.",
        who_notices: "Whoever uploads to the bucket or reads new objects without leave to use the key: they get 403. \
                      Other accounts can't use the AWS managed key at all. KMS bills its calls. A bucket that \
                      server access logs, load balancer logs or audit logs of Redshift's are delivered to is refused: \
                      they would stop; one that flow logs, CloudFront's logs and the like are delivered to, unless the \
                      rule names a key. S3 does not look whether the key exists: with one that does not, uploads fail.",
        way_back: "Puts back the former default encryption; what stands beside it stays as it is then. Objects \
                   that were encrypted meanwhile still need the key. Refused where somebody has changed the \
                   default encryption since.",
        reads: &[
            Action::new("s3:GetEncryptionConfiguration", On::Resource).called(&["GetBucketEncryption"]),
            Action::new("s3:GetBucketPolicy", On::Resource),
            Action::new("s3:GetBucketAcl", On::Resource),
        ],
        // KMS is asked by whoever uploads, not for the setting:
        // https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketEncryption.html
        writes: &[Action::new("s3:PutEncryptionConfiguration", On::Resource).called(&["PutBucketEncryption"])],
        undo: &[],
        implied: &[],
    };
    type Resource = Bucket;
    type Params = Params;
    type State = Encryption;

    async fn observe(aws: &Aws, at: &Bucket) -> Result<Encryption> {
        let answer = Answer::default();
        let encryption = aws
            .s3()
            .get_bucket_encryption()
            .bucket(&at.name)
            .expected_bucket_owner(&at.owner)
            .customize()
            .interceptor(answer.clone())
            .send();
        let policy = aws.s3().get_bucket_policy().bucket(&at.name).expected_bucket_owner(&at.owner).send();
        let acl = aws.s3().get_bucket_acl().bucket(&at.name).expected_bucket_owner(&at.owner).send();
        let (encryption, policy, acl) = tokio::join!(encryption, policy, acl);
        let rules = match encryption.absent_if("ServerSideEncryptionConfigurationNotFoundError")? {
            None => vec![UNCONFIGURED.to_owned()],
            Some(_) => raw::elements(&answer.text()?, "ServerSideEncryptionConfiguration")?,
        };
        let policy =
            policy.absent_if("NoSuchBucketPolicy")?.and_then(|found| found.policy).unwrap_or_default();
        // Who is named in what is no policy is not known.
        if !policy.is_empty()
            && !serde_json::from_str::<serde_json::Value>(&policy).is_ok_and(|policy| policy.is_object())
        {
            return Err(Error::new(ErrorKind::Rejected, "the bucket's policy is none that can be read"));
        }
        let mut loggers = loggers(&policy, &at.owner);
        let acl = acl?;
        let grantees = || acl.grants().iter().filter_map(|grant| grant.grantee());
        if grantees().any(|grantee| grantee.uri() == Some(LOG_DELIVERY)) {
            loggers.push(LOG_DELIVERY.to_owned());
        }
        let by_acl = || grantees().any(|grantee| grantee.id().is_some_and(|id| CLOUDFRONT.contains(&id)));
        let vended = policy.contains(VENDED) || by_acl();
        let keys = aws.key().fill("arn:{partition}:kms:{region}:{account}:key");
        Ok(Encryption { rules, keys, loggers, vended })
    }

    fn plan(now: &Encryption, ask: &Ask<'_, Params>) -> Plan<Encryption> {
        let rule = match only(now) {
            Ok(rule) => rule,
            Err(why) => return Plan::Refuse(why),
        };
        match algorithm(rule).as_deref() {
            Some("aws:kms" | "aws:kms:dsse") => return Plan::Compliant,
            Some("AES256") | None => {}
            Some(other) => {
                return Plan::Refuse(format!(
                    "the bucket's default encryption is `{}`, which redress does not know",
                    excerpt(other)
                ));
            }
        }
        if !now.loggers.is_empty() {
            return Plan::Refuse(format!(
                "logs are delivered to the bucket by `{}`, which delivers only where S3's own keys encrypt: \
                 they would stop",
                now.loggers.join("`, `")
            ));
        }
        let key = match ask.params.kms_key.as_deref().map(|key| arn(key, &now.keys)).transpose() {
            Ok(key) => key,
            Err(why) => return Plan::Refuse(why),
        };
        if now.vended && key.is_none() {
            return Plan::Refuse(format!(
                "logs are delivered to the bucket by `{VENDED}`, from another account, which can't use the AWS managed \
                 key: name a key in the rule, `kms_key`, that lets it in"
            ));
        }
        let id =
            key.as_ref().map(|key| format!("<KMSMasterKeyID>{key}</KMSMasterKeyID>")).unwrap_or_default();
        let elements = [
            format!("<{DEFAULT}><SSEAlgorithm>aws:kms</SSEAlgorithm>{id}</{DEFAULT}>"),
            format!("<{BUCKET_KEY}>true</{BUCKET_KEY}>"),
        ];
        let rule = match with(rule, &elements) {
            Ok(rule) => rule,
            Err(error) => return Plan::Refuse(format!("the default encryption can't be edited: {error}")),
        };
        let mut notes = vec![
            "only new objects are encrypted with it; those that are there stay as they are".to_owned(),
            match key {
                Some(key) => format!("whoever uploads or reads new objects needs leave to use `{key}`"),
                None => {
                    "other accounts can't read new objects: the AWS managed key is for this account alone"
                        .to_owned()
                }
            },
        ];
        if now.vended {
            notes.push(format!("logs of `{VENDED}` stop where the key's policy does not let it in"));
        }
        Plan::Change(Proposal {
            to: Encryption { rules: vec![rule], ..now.clone() },
            risk: Risk::Access,
            notes,
        })
    }

    async fn apply(aws: &Aws, at: &Bucket, change: &Change<Encryption>) -> Result<()> {
        let document = format!(
            "<ServerSideEncryptionConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{}\
             </ServerSideEncryptionConfiguration>",
            change.to.rules.concat()
        );
        let request = aws.s3().put_bucket_encryption().bucket(&at.name).expected_bucket_owner(&at.owner);
        request.customize().interceptor(Body(document)).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Encryption>, now: &Encryption) -> Undo<Encryption> {
        let parts = |state| -> Result<(Vec<String>, Vec<String>), String> {
            let rule = only(state)?;
            let elements = ours(rule).map_err(|error| error.to_string())?;
            let bare = form(&format!("<Rule>{}</Rule>", elements.concat()));
            Ok((elements, vec![bare]))
        };
        let (from, to, found) = match (parts(&change.from), parts(&change.to), parts(now)) {
            (Ok(from), Ok(to), Ok(found)) => (from, to, found),
            (Err(why), ..) | (_, Err(why), _) | (.., Err(why)) => return Undo::Refuse(why),
        };
        if found.1 == from.1 {
            return Undo::Nothing;
        }
        if found.1 != to.1 {
            return Undo::Refuse("somebody has changed the default encryption since".to_owned());
        }
        match only(now)
            .map_err(|why| Error::new(ErrorKind::Invalid, why))
            .and_then(|rule| with(rule, &from.0))
        {
            Err(error) => Undo::Refuse(format!("the default encryption can't be edited: {error}")),
            Ok(rule) => Undo::To {
                to: Encryption { rules: vec![rule], ..now.clone() },
                notes: vec!["objects that were encrypted meanwhile still need the key".to_owned()],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::{Access, raw::test::Wire, remediator::test::ask};

    const PLAIN: &str = "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>\
                         </ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled>\
                         <BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes>\
                         <New a=\"1\"> é </New></Rule>";

    fn state(rule: &str) -> Encryption {
        Encryption {
            rules: vec![rule.to_owned()],
            keys: "arn:aws:kms:eu-west-1:123456789012:key".to_owned(),
            loggers: Vec::new(),
            vended: false,
        }
    }

    fn plan(now: &Encryption, key: Option<&str>) -> Plan<Encryption> {
        EncryptWithKms::plan(now, &ask("S3.17", &Params { kms_key: key.map(str::to_owned) }))
    }

    fn change(now: &Encryption, key: Option<&str>) -> Change<Encryption> {
        let Plan::Change(change) = plan(now, key) else { panic!("{:?}", plan(now, key)) };
        assert_eq!(plan(&change.to, key), Plan::Compliant);
        Change { from: now.clone(), to: change.to }
    }

    #[test]
    fn the_default_changes_and_nothing_beside_it() {
        let made = change(&state(PLAIN), None).to.rules;
        assert_eq!(
            made,
            ["<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>\
              </ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled>\
              <BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes>\
              <New a=\"1\"> é </New></Rule>"]
        );
        for kms in ["aws:kms", "aws:kms:dsse"] {
            assert_eq!(plan(&state(&PLAIN.replace("AES256", kms)), None), Plan::Compliant);
        }
        assert!(matches!(plan(&state(&PLAIN.replace("AES256", "aws:new")), None), Plan::Refuse(_)));
        assert!(matches!(plan(&Encryption { rules: Vec::new(), ..state("") }, None), Plan::Refuse(_)));
        let logs = Encryption { loggers: vec!["logging.s3.amazonaws.com".to_owned()], ..state(PLAIN) };
        assert!(matches!(plan(&logs, None), Plan::Refuse(why) if why.contains("would stop")));
        let flows = Encryption { vended: true, ..state(PLAIN) };
        assert!(matches!(plan(&flows, None), Plan::Refuse(why) if why.contains("`kms_key`")));
        assert!(matches!(plan(&flows, Some("alias/logs")), Plan::Change(change)
            if change.notes.iter().any(|note| note.contains("the key's policy"))));
    }

    #[test]
    fn a_policy_names_who_delivers_logs() {
        let own = "123456789012";
        let named = |principal: &str| loggers(&format!(r#"{{"Principal":{{"AWS":["{principal}"]}}}}"#), own);
        for auditor in ["arn:aws:iam::193672423079:user/logs", "arn:aws-cn:iam::111890595117:user/logs"] {
            assert_eq!(named(auditor), [auditor]);
            assert_eq!(named(&format!(r#"{auditor}","{auditor}"#)), [auditor]);
        }
        for service in ["redshift.amazonaws.com", "logging.s3.amazonaws.com"] {
            assert_eq!(named(service), [service]);
        }
        for other in [
            "arn:aws:iam::123456789012:user/logs",
            "arn:aws:iam::193672423079:user/logs-reader",
            "arn:aws:iam::193672423079:user/team/logs",
            "arn:aws:iam::193672423079:role/logs",
            "redshift-serverless.amazonaws.com",
        ] {
            assert!(named(other).is_empty(), "{other}");
        }
    }

    /// `CloudFront` enters a user in the ACL, S3 a group.
    #[tokio::test]
    async fn an_acl_names_who_delivers_logs() {
        let missing =
            |code: &str| (404, Vec::new(), format!("<Error><Code>{code}</Code><Message>m</Message></Error>"));
        let wire = Wire::default();
        wire.answer("GET /?encryption", missing("ServerSideEncryptionConfigurationNotFoundError"));
        wire.answer("GET /?policy", missing("NoSuchBucketPolicy"));
        let aws = wire.aws(&EncryptWithKms, Access::Plan);
        let bucket = <Bucket as crate::Resource>::from_key(aws.key()).unwrap();
        let id = |id: &str| ("CanonicalUser", format!("<ID>{id}</ID>"));
        for ((kind, grantee), permission, expected) in [
            (id(CLOUDFRONT[0]), "FULL_CONTROL", (true, "")),
            (id(CLOUDFRONT[0]), "READ_ACP", (true, "")),
            (id(CLOUDFRONT[1]), "FULL_CONTROL", (true, "")),
            (id("0123456789abcdef"), "FULL_CONTROL", (false, "")),
            (("Group", format!("<URI>{LOG_DELIVERY}</URI>")), "WRITE", (false, LOG_DELIVERY)),
        ] {
            let acl = format!(
                "<AccessControlPolicy><Owner><ID>own</ID></Owner><AccessControlList><Grant><Grantee \
                 xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\">{grantee}</Grantee>\
                 <Permission>{permission}</Permission></Grant></AccessControlList></AccessControlPolicy>"
            );
            wire.answer("GET /?acl", (200, Vec::new(), acl));
            let seen = EncryptWithKms::observe(&aws, &bucket).await.unwrap();
            assert_eq!((seen.vended, seen.loggers.concat().as_str()), expected, "{grantee}");
        }
    }

    #[test]
    fn a_key_is_named_by_its_arn() {
        let id = "1234abcd-12ab-34cd-56ef-1234567890ab";
        let key = format!("arn:aws:kms:eu-west-1:123456789012:key/{id}");
        let shared = "arn:aws:kms:eu-west-1:210987654321:alias/team/data";
        for (named, arn) in [
            (id, key.as_str()),
            (&key, &key),
            ("alias/data", "arn:aws:kms:eu-west-1:123456789012:alias/data"),
            (shared, shared),
        ] {
            let rule = change(&state(PLAIN), Some(named)).to.rules.concat();
            assert!(rule.contains(&format!("<KMSMasterKeyID>{arn}</KMSMasterKeyID>")), "{rule}");
        }
        for fault in [
            "",
            "alias/",
            "key/a",
            "a b",
            "<x/>",
            "arn:aws:kms:us-east-1:123456789012:key/a",
            "arn:aws-cn:kms:eu-west-1:123456789012:key/a",
            "arn:aws:s3:eu-west-1:123456789012:key/a",
            "arn:aws:kms:eu-west-1::key/a",
            "arn:aws:kms:eu-west-1:123456789012:key/a</KMSMasterKeyID>",
        ] {
            assert!(
                matches!(plan(&state(PLAIN), Some(fault)), Plan::Refuse(why) if why.contains("`kms_key`"))
            );
        }
    }

    #[test]
    fn undo_leaves_what_was_changed_beside_it() {
        let change = change(&state(PLAIN), None);
        let Undo::To { to, .. } = EncryptWithKms::undo(&change, &change.to) else { panic!("no way back") };
        assert_eq!(to, change.from);
        assert_eq!(EncryptWithKms::undo(&change, &change.from), Undo::Nothing);

        let beside = state(&change.to.rules.concat().replace("SSE-C", "NONE"));
        let Undo::To { to, .. } = EncryptWithKms::undo(&change, &beside) else { panic!("no way back") };
        assert_eq!(to.rules, [PLAIN.replace("SSE-C", "NONE")]);

        let other = state(&change.to.rules.concat().replace("aws:kms", "aws:kms:dsse"));
        assert!(matches!(EncryptWithKms::undo(&change, &other), Undo::Refuse(_)));
        assert_eq!(
            state(UNCONFIGURED),
            state(&UNCONFIGURED.replace("</Rule>", "<BucketKeyEnabled>false</BucketKeyEnabled></Rule>"))
        );
    }
}
