//! Bodies as they travel, for documents that are read, edited and put back whole.
//!
//! The SDK's types hold what the SDK's version knows. What a newer AWS returns besides is dropped on
//! reading, and would be lost by writing. So such documents are taken from the answer itself ([`Answer`]),
//! and sent as text ([`Body`]).

use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut},
        },
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{body::SdkBody, config_bag::ConfigBag};

use crate::{Error, ErrorKind, Result};

/// Keeps the body of the answer to the operation that carries it.
///
/// Give a clone to `.customize().interceptor(..)`; after `.send()` the body is here. Of several attempts
/// it is the last one's.
#[derive(Clone, Debug, Default)]
pub struct Answer(Arc<Mutex<Option<Vec<u8>>>>);

impl Answer {
    /// The body.
    ///
    /// # Errors
    /// Where no answer came or the answer is not UTF-8.
    pub fn text(&self) -> Result<String> {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let body = body.ok_or_else(|| Error::new(ErrorKind::Transient, "no answer was kept"))?;
        String::from_utf8(body).map_err(|_| Error::new(ErrorKind::Invalid, "the answer is not UTF-8"))
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Answer {
    fn name(&self) -> &'static str {
        "redress::Answer"
    }

    // The body has been read into memory by then; before, it is still a stream.
    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            context.response().body().bytes().map(<[u8]>::to_vec);
        Ok(())
    }
}

/// Sends this text as the body of the operation that carries it, in place of what its types would make.
///
/// The SDK computes checksum and signature after this hook, so they are those of this body.
#[derive(Clone, Debug)]
pub struct Body(pub String);

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Body {
    fn name(&self) -> &'static str {
        "redress::Body"
    }

    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        request.headers_mut().insert("content-length", self.0.len().to_string());
        *request.body_mut() = SdkBody::from(self.0.as_str());
        Ok(())
    }
}
