//! Whether an answer has come whole.

use serde::de::IgnoredAny;

/// Whether XML or JSON is there to its end. Of anything else nothing is known.
pub(crate) fn is_whole(body: &[u8]) -> bool {
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
