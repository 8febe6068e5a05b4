//! Reading and changing JSON by path.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use serde_json::{Map, Value};

/// What stands at a dotted path of objects.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, key| value.get(key))
}

/// The text at a dotted path, or an empty one.
pub(super) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// All that stands at a dotted path, through arrays on the way and at its end.
pub(super) fn leaves<'a>(value: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![value];
    for key in path.split('.').chain(std::iter::once("")) {
        found = found
            .into_iter()
            .flat_map(|value| match value {
                Value::Array(items) => items.iter().collect(),
                other => vec![other],
            })
            .filter_map(|value| if key.is_empty() { Some(value) } else { value.get(key) })
            .collect();
    }
    found
}

/// Sets what stands at a dotted path, making objects on the way.
pub(super) fn set(value: &mut Value, path: &str, new: Value) {
    let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Some(object) = value.as_object_mut() else { return };
    match rest {
        None => {
            object.insert(key.to_owned(), new);
        }
        Some(rest) => set(object.entry(key).or_insert(Value::Null), rest, new),
    }
}

/// Applies a [JSON merge patch](https://www.rfc-editor.org/rfc/rfc7396).
pub(super) fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Some(object) = value.as_object_mut() else { return };
    for (key, new) in patch {
        if new.is_null() {
            object.shift_remove(key);
        } else {
            merge(object.entry(key.as_str()).or_insert(Value::Null), new);
        }
    }
}

/// A time as Security Hub writes it: RFC 3339, milliseconds, `Z`.
pub(crate) fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// A short text that is the same for the same texts, in every process.
pub(crate) fn fingerprint(texts: &[&str]) -> String {
    let mut hasher = DefaultHasher::new();
    texts.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
