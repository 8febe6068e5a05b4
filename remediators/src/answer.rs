//! Whether an answer has come whole.

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::AfterDeserializationInterceptorContextRef},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;
use serde::de::IgnoredAny;

/// For a client that takes nothing for an answer of AWS's whose XML or JSON is not whole: such a call has failed, as one
/// whose answer was lost.
///
/// The SDK's reader of XML takes what ends in its midst for all there is: a setting that comes later is then one that is
/// not made. And some proxy's page is no word of AWS's, whatever its status.
#[derive(Clone, Copy, Debug)]
pub struct WholeAnswers;

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for WholeAnswers {
    fn name(&self) -> &'static str {
        "redress::WholeAnswers"
    }

    // The body is here no sooner.
    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        match context.response().body().bytes() {
            Some(body) if !is_whole(body) => Err("it is not whole".into()),
            _ => Ok(()),
        }
    }
}

/// Whether XML or JSON is there to its end. Of anything else nothing is known.
fn is_whole(body: &[u8]) -> bool {
    match body.trim_ascii_start().first() {
        Some(b'<') => std::str::from_utf8(body).is_ok_and(|text| roxmltree::Document::parse(text).is_ok()),
        Some(b'{' | b'[') => serde_json::from_slice::<IgnoredAny>(body).is_ok(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_in_its_midst_is_not_whole() {
        let xml = "<?xml version=\"1.0\"?>\n<Answer><Interval>60</Interval><Empty/></Answer>\n";
        let json = r#" {"Statement": [{"Effect": "Allow"}]} "#;
        for whole in [xml, json] {
            assert!(is_whole(whole.as_bytes()));
            let text = whole.trim_end();
            let begun = text.len() - text.trim_start().len() + 1;
            for end in begun..text.len() {
                assert!(!is_whole(&text.as_bytes()[..end]), "{}", &text[..end]);
            }
        }
        for other in ["", " ", "OK", "\u{feff}"] {
            assert!(is_whole(other.as_bytes()), "{other}");
        }
        assert!(!is_whole(b"<!DOCTYPE html><title>Bad gateway</title>"));
        assert!(!is_whole(b"<Answer>\xff</Answer>"));
    }
}
