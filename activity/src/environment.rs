//! A Lambda function's way to AWS: what its environment says, and nothing else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    dns::{DnsFuture, ResolveDns, ResolveDnsError},
    http::SharedHttpClient,
};
use aws_types::{
    SdkConfig,
    service_config::{LoadServiceConfig, ServiceConfigKey},
};
use rustls::{
    RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// [Amazon's own roots](https://www.amazontrust.com/repository/), and the Starfield root that older chains
/// end in: all that AWS's endpoints outside China need. Reading a system's whole bundle is a third of a
/// function's start-up.
const AMAZON_ROOTS: &[u8] = include_bytes!("../data/roots/amazon.pem");

/// An environment that no client can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A variable is absent or empty.
    #[error("{0} is not in the environment")]
    Missing(&'static str),
    /// The certificate authorities can't be read.
    #[error("certificates: {0}")]
    Certificates(String),
}

/// Which certificate authorities are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Amazon's own: for functions on AWS.
    Amazon,
    /// The system's: for the command line, which may be behind a company's proxy.
    System,
    /// Those of a PEM file.
    Pem(Vec<u8>),
}

/// The HTTP client that all SDK clients share: one TLS stack, one pool of connections.
///
/// # Errors
/// Where the certificates can't be used.
pub fn http_client(roots: &Roots) -> Result<SharedHttpClient, Unusable> {
    let builder = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    let pem = match roots {
        Roots::System => return Ok(builder.build_with_resolver(Resolver)),
        Roots::Amazon => AMAZON_ROOTS,
        Roots::Pem(pem) => {
            check(pem)?;
            pem
        }
    };
    let context = TlsContext::builder()
        .with_trust_store(TrustStore::empty().with_pem_certificate(pem))
        .build()
        .map_err(|error| Unusable::Certificates(error.to_string()))?;
    Ok(builder.tls_context(context).build_with_resolver(Resolver))
}

/// The HTTP client takes certificates unseen, and panics at the first connection where one of them is none.
fn check(pem: &[u8]) -> Result<(), Unusable> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| Unusable::Certificates(error.to_string()))?;
        roots.add(certificate).map_err(|error| Unusable::Certificates(error.to_string()))?;
    }
    if roots.is_empty() { Err(Unusable::Certificates("there are none".to_owned())) } else { Ok(()) }
}

/// Draws the first of the random numbers that TLS needs.
///
/// AWS-LC seeds itself from the [jitter of the processor](https://github.com/aws/aws-lc/tree/main/third_party/jitterentropy)
/// besides the system's source, which takes 20 ms of a whole processor. A function has but
/// [a share of one](https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html), a fourteenth at
/// 128 MB, as soon as it has started.
pub fn seed() {
    // Without random numbers the first connection fails, and says so.
    let _ = aws_lc_rs::default_provider().secure_random.fill(&mut [0]);
}

/// The system's resolver, but that names below `localhost` are this machine, as
/// [RFC 6761](https://www.rfc-editor.org/rfc/rfc6761#section-6.3) says and not every system knows: S3 Control
/// puts the account before the host of whatever endpoint it is given.
#[derive(Clone, Debug)]
struct Resolver;

impl ResolveDns for Resolver {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            if name == "localhost" || name.ends_with(".localhost") {
                return Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
            }
            let found = tokio::net::lookup_host((name, 0)).await.map_err(ResolveDnsError::new)?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// A Lambda function's configuration: what its environment says, and nothing else.
///
/// The SDK's own loader would bring all of its providers into the binary (files, SSO, metadata services),
/// and look for them at start-up. `AWS_ENDPOINT_URL`, its variants for one service, `AWS_USE_FIPS_ENDPOINT`
/// and `AWS_USE_DUALSTACK_ENDPOINT` mean what they
/// [mean to the SDK](https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html).
///
/// # Errors
/// Without a Region or credentials, or where the certificates can't be used.
pub fn function_config(
    roots: &Roots,
    timeouts: TimeoutConfig,
    retries: RetryConfig,
) -> Result<SdkConfig, Unusable> {
    let region = variable("AWS_REGION").ok_or(Unusable::Missing("AWS_REGION"))?;
    let credentials = environment_credentials().ok_or(Unusable::Missing("AWS_ACCESS_KEY_ID"))?;
    let is_on = |name| variable(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region))
        .credentials_provider(credentials)
        .http_client(http_client(roots)?)
        .timeout_config(timeouts)
        .retry_config(retries)
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .use_fips(is_on("AWS_USE_FIPS_ENDPOINT"))
        .use_dual_stack(is_on("AWS_USE_DUALSTACK_ENDPOINT"))
        .service_config(Environment);
    config.set_endpoint_url(variable("AWS_ENDPOINT_URL"));
    Ok(config.build())
}

/// The settings of one service, such as `AWS_ENDPOINT_URL_SECURITYHUB`.
#[derive(Debug)]
struct Environment;

impl LoadServiceConfig for Environment {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_uppercase().replace([' ', '-'], "_");
        variable(&format!("{}_{service}", key.env())).or_else(|| variable(key.env()))
    }
}

/// Empty variables count as absent.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The credentials that Lambda puts into a function's environment, read directly: the SDK's chain of
/// providers would look at files and metadata services that a function does not have.
fn environment_credentials() -> Option<SharedCredentialsProvider> {
    let credentials = Credentials::new(
        variable("AWS_ACCESS_KEY_ID")?,
        variable("AWS_SECRET_ACCESS_KEY")?,
        variable("AWS_SESSION_TOKEN"),
        None,
        "environment",
    );
    Some(SharedCredentialsProvider::new(credentials))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn certificates_are_looked_at_before_the_client_takes_them() {
        assert_eq!(check(AMAZON_ROOTS), Ok(()));
        let begin = "-----BEGIN CERTIFICATE-----\n";
        let end = "-----END CERTIFICATE-----\n";
        let broken = [
            String::new(),
            "no PEM".to_owned(),
            format!("{begin}AAAA\n{end}"),
            format!("{begin}?\n{end}"),
            begin.to_owned(),
            format!("{}{begin}AAAA\n{end}", String::from_utf8_lossy(AMAZON_ROOTS)),
        ];
        for pem in broken {
            let made = http_client(&Roots::Pem(pem.clone().into_bytes()));
            assert!(matches!(made, Err(Unusable::Certificates(_))), "{pem}");
        }
        http_client(&Roots::Amazon).unwrap();
    }
}
