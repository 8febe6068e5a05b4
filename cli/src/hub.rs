//! Findings live from Security Hub.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_config::SdkConfig;
use aws_sdk_securityhub::{
    operation::get_findings::{GetFindingsError, GetFindingsOutput},
    types::{AwsSecurityFindingFilters, StringFilter, StringFilterComparison},
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{BeforeSerializationInterceptorContextRef, Error as OperationError, Output},
        },
        orchestrator::{HttpResponse, OrchestratorError},
        runtime_components::RuntimeComponents,
        ser_de::{DeserializeResponse, SharedResponseDeserializer},
    },
};
use aws_smithy_types::{config_bag::ConfigBag, error::ErrorMetadata};
use redress_remediators::{Error, ErrorKind};
use redress_router::{
    control::{ControlId, INACTIVE_USER},
    event::{Decoded, Ignored, decode_many, shown},
    rules::RuleSet,
};
use serde::Deserialize;

use crate::{
    args::Findings,
    context::account,
    exit::{Failure, Result},
};

/// Findings a page:
/// [`GetFindings`](https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_GetFindings.html) gives no
/// more.
const PAGE: i32 = 100;

/// Values that one filter takes.
const MOST_VALUES: usize = 20;

/// How often a page that is throttled is asked for. Three pages a second are let through.
const TRIES: u32 = 6;

/// Reads a page of `GetFindings` as it came. The SDK's type would drop what it does not know, while rules'
/// patterns are about the finding's own JSON; and to build it takes more stack than a thread has.
#[derive(Clone, Debug, Default)]
struct AsItCame(Arc<Mutex<Vec<u8>>>);

impl AsItCame {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Intercept for AsItCame {
    fn name(&self) -> &'static str {
        "AsItCame"
    }

    fn read_before_serialization(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        cfg.interceptor_state().store_put(SharedResponseDeserializer::new(self.clone()));
        Ok(())
    }
}

impl DeserializeResponse for AsItCame {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        _: &ConfigBag,
    ) -> Result<Output, OrchestratorError<OperationError>> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(rename = "NextToken")]
            next_token: Option<String>,
        }
        #[derive(Default, Deserialize)]
        struct Fault {
            #[serde(alias = "Message")]
            message: Option<String>,
            #[serde(alias = "Code", alias = "__type")]
            code: Option<String>,
        }
        let body = response.body().bytes().unwrap_or_default();
        if !response.status().is_success() {
            // https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html#operation-error-serialization
            let fault: Fault = serde_json::from_slice(body).unwrap_or_default();
            let code = response.headers().get("x-amzn-errortype").map(str::to_owned).or(fault.code);
            let code = code.unwrap_or_default();
            let code = code.split(':').next().unwrap_or_default();
            let code = code.rsplit('#').next().unwrap_or_default();
            let message = fault.message.unwrap_or_default();
            let meta = ErrorMetadata::builder().code(code).message(message).build();
            let error = GetFindingsError::generic(meta);
            return Err(OrchestratorError::operation(OperationError::erase(error)));
        }
        let page: Page = serde_json::from_slice(body).map_err(OrchestratorError::other)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = body.to_vec();
        let output = GetFindingsOutput::builder().set_next_token(page.next_token).build();
        Ok(Output::erase(output))
    }
}

/// Asks Security Hub for failed, active findings that nobody has resolved or suppressed. All filters are
/// applied there. `seen` is told how many there are so far.
pub(crate) async fn findings(
    aws: &SdkConfig,
    wanted: &Findings,
    rules: &RuleSet,
    mut seen: impl FnMut(usize),
) -> Result<Vec<Decoded>> {
    let filters = filters(wanted, rules)?;
    let hub = aws_sdk_securityhub::Client::new(aws);
    let kept = AsItCame::default();
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let mut pause = Duration::from_millis(500);
        let mut tries = 1;
        let page = loop {
            let sent = hub
                .get_findings()
                .filters(filters.clone())
                .max_results(PAGE)
                .set_next_token(token.clone())
                .customize()
                .interceptor(kept.clone())
                .send()
                .await
                .map_err(Error::from);
            match sent {
                Err(error) if error.kind == ErrorKind::Throttled && tries < TRIES => {
                    tokio::time::sleep(pause).await;
                    (pause, tries) = (pause * 2, tries + 1);
                }
                other => break other.map_err(|error| Failure::from(error).context("Security Hub"))?,
            }
        };
        for decoded in
            decode_many(&kept.take()).map_err(|error| Failure::from(error).context("Security Hub"))?
        {
            // A page without findings decodes to just that.
            if decoded != Decoded::Ignored(Ignored::NoFindings) {
                found.push(decoded);
            }
        }
        seen(found.len());
        // A page may be empty and not the last one.
        match page.next_token.filter(|next| !next.is_empty()) {
            Some(next) if token.as_ref() != Some(&next) => token = Some(next),
            _ => return Ok(found),
        }
    }
}

fn filters(wanted: &Findings, rules: &RuleSet) -> Result<AwsSecurityFindingFilters> {
    let equals =
        |value: &str| StringFilter::builder().value(value).comparison(StringFilterComparison::Equals).build();
    let all = |values: &[String]| -> Option<Vec<StringFilter>> {
        (!values.is_empty()).then(|| values.iter().map(|value| equals(value)).collect())
    };
    for values in [&wanted.control, &wanted.severity, &wanted.resource, &wanted.account] {
        if values.len() > MOST_VALUES {
            let why = format!("{} values of one filter; Security Hub takes {MOST_VALUES}", values.len());
            return Err(Failure::input(why));
        }
    }
    for id in &wanted.account {
        account(id).map_err(|failure| failure.context("--account"))?;
    }
    let mut controls = Vec::new();
    for given in &wanted.control {
        let control =
            given.parse::<ControlId>().map_err(|error| Failure::input(format!("--control: {error}")))?;
        controls.push(control.as_str().to_owned());
    }
    let severities: Vec<String> = wanted.severity.iter().map(|label| label.to_ascii_uppercase()).collect();
    let mut filters = AwsSecurityFindingFilters::builder()
        .compliance_status(equals("FAILED"))
        .record_state(equals("ACTIVE"))
        .workflow_status(equals("NEW"))
        .workflow_status(equals("NOTIFIED"))
        .set_severity_label(all(&severities))
        .set_resource_id(all(&wanted.resource))
        .set_aws_account_id(all(&wanted.account));
    if controls.iter().any(|control| control == INACTIVE_USER) {
        if controls.len() > 1 {
            let why = format!("--control {}: ask for it alone", shown(INACTIVE_USER));
            return Err(Failure::input(why));
        }
        // It is no control of Security Hub's: its findings are those of an account's own product.
        return Ok(filters.generator_id(equals(INACTIVE_USER)).build());
    }
    if controls.is_empty() {
        // What no rule names is not worth asking for; as far as the filter can say so.
        let mut named: Vec<String> = rules.rules.iter().flat_map(|rule| rule.controls.clone()).collect();
        named.sort();
        named.dedup();
        named.retain(|control| control != INACTIVE_USER);
        if named.len() <= MOST_VALUES {
            controls = named;
        }
    }
    filters = filters.product_name(equals("Security Hub")).set_compliance_security_control_id(all(&controls));
    Ok(filters.build())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn asked(wanted: &Findings) -> Result<AwsSecurityFindingFilters> {
        filters(wanted, &RuleSet::builtin().unwrap())
    }

    fn values(filters: &[StringFilter]) -> Vec<&str> {
        filters.iter().filter_map(StringFilter::value).collect()
    }

    #[test]
    fn only_what_could_be_fixed_is_asked_for() {
        let wanted = Findings {
            control: vec!["s3.14".to_owned()],
            severity: vec!["high".to_owned()],
            ..Findings::default()
        };
        let filters = asked(&wanted).unwrap();
        assert_eq!(values(filters.compliance_status()), ["FAILED"]);
        assert_eq!(values(filters.record_state()), ["ACTIVE"]);
        assert_eq!(values(filters.workflow_status()), ["NEW", "NOTIFIED"]);
        assert_eq!(values(filters.product_name()), ["Security Hub"]);
        assert_eq!(values(filters.compliance_security_control_id()), ["S3.14"]);
        assert_eq!(values(filters.severity_label()), ["HIGH"]);
        let any = asked(&Findings { severity: vec!["low".to_owned()], ..Findings::default() }).unwrap();
        assert!(values(any.compliance_security_control_id()).contains(&"S3.14"));
        let own = Findings { control: vec![INACTIVE_USER.to_owned()], ..Findings::default() };
        let own = asked(&own).unwrap();
        assert_eq!(values(own.generator_id()), [INACTIVE_USER]);
        assert!(own.product_name().is_empty());
    }

    #[test]
    fn a_filter_that_cannot_be_is_named() {
        let control = Findings { control: vec!["S3-14".to_owned()], ..Findings::default() };
        assert!(asked(&control).unwrap_err().message.contains("`S3-14`"));
        let account = Findings { account: vec!["123".to_owned()], ..Findings::default() };
        assert!(asked(&account).unwrap_err().message.contains("`123`"));
        let many = Findings { resource: vec!["arn:aws:s3:::a".to_owned(); 21], ..Findings::default() };
        assert!(asked(&many).unwrap_err().message.contains("21 values"));
    }
}
