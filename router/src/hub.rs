//! Findings live from Security Hub, as they came.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_securityhub::{
    Client,
    operation::get_findings::{GetFindingsError, GetFindingsOutput},
    types::{AwsSecurityFindingFilters, SortCriterion, StringFilter, StringFilterComparison},
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
use redress_remediators::{Error, ErrorKind, Result};
use serde::Deserialize;

use crate::event::{Decoded, Ignored, decode_many};

/// Findings a page:
/// [`GetFindings`](https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_GetFindings.html) gives no
/// more.
const PAGE: i32 = 100;

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

/// A filter that lets through what is exactly this.
pub fn equals(value: &str) -> StringFilter {
    StringFilter::builder().comparison(StringFilterComparison::Equals).value(value).build()
}

/// Every finding that the filters let through. `seen` is told how many there are so far.
///
/// # Errors
/// As Security Hub said it; [`ErrorKind::Invalid`] where a page can't be read.
pub async fn findings(
    hub: &Client,
    filters: &AwsSecurityFindingFilters,
    mut seen: impl FnMut(usize),
) -> Result<Vec<Decoded>> {
    let mut pages = Pages::new(hub, filters.clone(), None);
    let mut found = Vec::new();
    while let Some(page) = pages.next().await? {
        found.extend(page);
        seen(found.len());
    }
    Ok(found)
}

/// The findings that filters let through, page by page.
pub struct Pages<'a> {
    hub: &'a Client,
    filters: AwsSecurityFindingFilters,
    order: Option<SortCriterion>,
    kept: AsItCame,
    token: Option<String>,
    ended: bool,
}

impl<'a> Pages<'a> {
    /// Nothing is asked for yet. Without an order, they come as Security Hub has them.
    pub fn new(hub: &'a Client, filters: AwsSecurityFindingFilters, order: Option<SortCriterion>) -> Self {
        Self { hub, filters, order, kept: AsItCame::default(), token: None, ended: false }
    }

    /// The next page, which may be empty; `None` after the last one.
    ///
    /// # Errors
    /// As [`findings`] has them.
    pub async fn next(&mut self) -> Result<Option<Vec<Decoded>>> {
        if self.ended {
            return Ok(None);
        }
        let mut pause = Duration::from_millis(500);
        let mut tries = 1;
        let page = loop {
            let sent = self
                .hub
                .get_findings()
                .filters(self.filters.clone())
                .set_sort_criteria(self.order.clone().map(|order| vec![order]))
                .max_results(PAGE)
                .set_next_token(self.token.clone())
                .customize()
                .interceptor(self.kept.clone())
                .send()
                .await
                .map_err(Error::from);
            match sent {
                Err(error) if error.kind == ErrorKind::Throttled && tries < TRIES => {
                    tokio::time::sleep(pause).await;
                    (pause, tries) = (pause * 2, tries + 1);
                }
                other => break other?,
            }
        };
        let decoded = decode_many(&self.kept.take());
        let mut found = decoded.map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
        // A page without findings decodes to just that.
        found.retain(|decoded| *decoded != Decoded::Ignored(Ignored::NoFindings));
        // A page may be empty and not the last one.
        let next = page.next_token.filter(|next| !next.is_empty() && self.token.as_ref() != Some(next));
        self.ended = next.is_none();
        self.token = next;
        Ok(Some(found))
    }
}
