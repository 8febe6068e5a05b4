//! An account in which something is wrong: one resource of each kind that redress can put right.

use aws_sdk_cognitoidentityprovider::types::AttributeType;
use aws_sdk_ec2::types::{DomainType, IpPermission, IpRange, Ipv6Range, ResourceType, Tag, TagSpecification};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketLocationConstraint, BucketVersioningStatus,
    CreateBucketConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
    VersioningConfiguration,
};

use crate::emulator::Emulator;
use crate::securityhub::partition;

/// An API call that failed while an account was furnished.
#[derive(Debug)]
pub struct Error(Box<dyn std::error::Error + Send + Sync>);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the account could not be furnished")
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

impl<E, R> From<aws_sdk_s3::error::SdkError<E, R>> for Error
where
    E: std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    fn from(error: aws_sdk_s3::error::SdkError<E, R>) -> Self {
        Self(error.into())
    }
}

impl From<aws_sdk_s3::error::BuildError> for Error {
    fn from(error: aws_sdk_s3::error::BuildError) -> Self {
        Self(error.into())
    }
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
}

/// What [`furnish`] made. The account as a whole has no block of public access (S3.1): none has from the
/// start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Furnished {
    /// The account; 12 digits.
    pub account: String,
    /// The Region.
    pub region: String,
    /// Never versioned, and with a lifecycle rule that expires objects under `logs/` after 30 days (S3.14).
    pub unversioned: Bucket,
    /// Versioned, without any lifecycle rule (S3.10, S3.13).
    pub without_lifecycle: Bucket,
    /// Without its block of public access (S3.2, S3.3, S3.8).
    pub unblocked: Bucket,
    /// Its policy lets another account read, over plain HTTP as well (S3.5).
    pub plaintext: Bucket,
    /// The policy of [`Self::plaintext`], byte for byte.
    pub policy: String,
    /// The VPC of [`Self::group`].
    pub vpc: String,
    /// A security group with four ingress rules: see [`Self::rules`].
    pub group: String,
    /// The ARN of [`Self::group`].
    pub group_arn: String,
    /// The ids of the group's rules (EC2.13, EC2.14, EC2.18, EC2.19).
    pub rules: Rules,
    /// The allocation id of an Elastic IP that nothing uses (EC2.12).
    pub allocation: String,
    /// The address of [`Self::allocation`].
    pub address: String,
    /// The ARN of [`Self::allocation`].
    pub address_arn: String,
    /// The id of a user pool.
    pub pool: String,
    /// The ARN of [`Self::pool`].
    pub pool_arn: String,
    /// The name of the pool's one user, who is enabled and has never signed in.
    pub user: String,
    /// The `sub` of [`Self::user`].
    pub sub: String,
}

/// The ingress rules of a furnished security group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// TCP 22 from everywhere, described.
    pub open_ssh: String,
    /// TCP 22 from one office, described.
    pub restricted_ssh: String,
    /// Everything from one address.
    pub all_from_one: String,
    /// TCP 3389 from everywhere over IPv6, described.
    pub open_rdp_v6: String,
}

/// Makes one resource of each kind that does not comply, through the SDK as anybody would. Names of
/// buckets hold account and Region, so every account can be furnished once in each Region.
///
/// # Errors
/// The call that failed, such as on a second time.
pub async fn furnish(emulator: &Emulator, account: &str, region: &str) -> Result<Furnished, Error> {
    let config = emulator.sdk_config(account, region);
    let partition = partition(region);
    let arn = |service: &str, rest: String| format!("arn:{partition}:{service}:{region}:{account}:{rest}");

    let s3 = aws_sdk_s3::Client::new(&config);
    let unversioned = bucket(&s3, "app-data", account, region).await?;
    let rule = LifecycleRule::builder()
        .id("expire-logs")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("logs/").build())
        .expiration(LifecycleExpiration::builder().days(30).build())
        .build()?;
    s3.put_bucket_lifecycle_configuration()
        .bucket(&unversioned.name)
        .lifecycle_configuration(BucketLifecycleConfiguration::builder().rules(rule).build()?)
        .send()
        .await?;

    let without_lifecycle = bucket(&s3, "archive", account, region).await?;
    let versioned = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    s3.put_bucket_versioning()
        .bucket(&without_lifecycle.name)
        .versioning_configuration(versioned)
        .send()
        .await?;

    let unblocked = bucket(&s3, "downloads", account, region).await?;
    s3.delete_public_access_block().bucket(&unblocked.name).send().await?;

    let plaintext = bucket(&s3, "partner-exchange", account, region).await?;
    // Set out as people write policies, so that an edit which lays it out anew shows.
    let policy = format!(
        r#"{{
  "Version": "2012-10-17",
  "Statement": [
    {{
      "Sid": "PartnerReads",
      "Effect": "Allow",
      "Principal": {{ "AWS": "arn:{partition}:iam::210987654321:root" }},
      "Action": ["s3:GetObject", "s3:ListBucket"],
      "Resource": ["{0}", "{0}/*"]
    }}
  ]
}}"#,
        plaintext.arn
    );
    s3.put_bucket_policy().bucket(&plaintext.name).policy(&policy).send().await?;

    let ec2 = aws_sdk_ec2::Client::new(&config);
    let (vpc, group, rules) = security_group(&ec2).await?;
    let allocated = ec2
        .allocate_address()
        .domain(DomainType::Vpc)
        .tag_specifications(named(ResourceType::ElasticIp, "old-gateway"))
        .send()
        .await?;
    let allocation = allocated.allocation_id.unwrap_or_default();

    let cognito = aws_sdk_cognitoidentityprovider::Client::new(&config);
    let made = cognito.create_user_pool().pool_name("customers").send().await?;
    let pool = made.user_pool.and_then(|pool| pool.id).unwrap_or_default();
    let email = AttributeType::builder().name("email").value("ada@example.com").build()?;
    let user = "ada".to_owned();
    let made =
        cognito.admin_create_user().user_pool_id(&pool).username(&user).user_attributes(email).send().await?;
    let attributes = made.user.and_then(|user| user.attributes).unwrap_or_default();
    let sub = attributes.into_iter().find(|attribute| attribute.name == "sub");

    Ok(Furnished {
        account: account.to_owned(),
        region: region.to_owned(),
        unversioned,
        without_lifecycle,
        unblocked,
        plaintext,
        policy,
        vpc,
        group_arn: arn("ec2", format!("security-group/{group}")),
        group,
        rules,
        address: allocated.public_ip.unwrap_or_default(),
        address_arn: arn("ec2", format!("elastic-ip/{allocation}")),
        allocation,
        pool_arn: arn("cognito-idp", format!("userpool/{pool}")),
        pool,
        user,
        sub: sub.and_then(|sub| sub.value).unwrap_or_default(),
    })
}

async fn bucket(s3: &aws_sdk_s3::Client, name: &str, account: &str, region: &str) -> Result<Bucket, Error> {
    let name = format!("{name}-{account}-{region}");
    let place = CreateBucketConfiguration::builder()
        .location_constraint(BucketLocationConstraint::from(region))
        .build();
    s3.create_bucket()
        .bucket(&name)
        // The oldest Region is the one that must not be named.
        .set_create_bucket_configuration((region != "us-east-1").then_some(place))
        .send()
        .await?;
    let arn = format!("arn:{}:s3:::{name}", partition(region));
    Ok(Bucket { name, arn })
}

async fn security_group(ec2: &aws_sdk_ec2::Client) -> Result<(String, String, Rules), Error> {
    let made = ec2.create_vpc().cidr_block("10.0.0.0/16").send().await?;
    let vpc = made.vpc.and_then(|vpc| vpc.vpc_id).unwrap_or_default();
    let made = ec2
        .create_security_group()
        .group_name("bastion")
        .description("bastion hosts")
        .vpc_id(&vpc)
        .tag_specifications(named(ResourceType::SecurityGroup, "bastion"))
        .send()
        .await?;
    let group = made.group_id.unwrap_or_default();
    let tcp = |port| IpPermission::builder().ip_protocol("tcp").from_port(port).to_port(port);
    let v4 = |cidr: &str| IpRange::builder().cidr_ip(cidr);
    let add = async |permission: IpPermission, name: &str| {
        let made = ec2
            .authorize_security_group_ingress()
            .group_id(&group)
            .ip_permissions(permission)
            .tag_specifications(named(ResourceType::SecurityGroupRule, name))
            .send()
            .await?;
        let rule = made.security_group_rules.unwrap_or_default().into_iter().next();
        Ok::<_, Error>(rule.and_then(|rule| rule.security_group_rule_id).unwrap_or_default())
    };
    let open = v4("0.0.0.0/0").description("temporary, for the migration").build();
    let office = v4("198.51.100.0/24").description("office").build();
    let backup = v4("192.0.2.10/32").build();
    let everywhere = Ipv6Range::builder().cidr_ipv6("::/0").description("remote desktop").build();
    let rules = Rules {
        open_ssh: add(tcp(22).ip_ranges(open).build(), "open-ssh").await?,
        restricted_ssh: add(tcp(22).ip_ranges(office).build(), "office-ssh").await?,
        all_from_one: add(IpPermission::builder().ip_protocol("-1").ip_ranges(backup).build(), "backup")
            .await?,
        open_rdp_v6: add(tcp(3389).ipv6_ranges(everywhere).build(), "open-rdp").await?,
    };
    Ok((vpc, group, rules))
}

fn named(kind: ResourceType, name: &str) -> TagSpecification {
    TagSpecification::builder()
        .resource_type(kind)
        .tags(Tag::builder().key("Name").value(name).build())
        .build()
}
