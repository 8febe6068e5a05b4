//! What differs between two states, value by value.

use serde_json::Value;

use crate::event::shown;

/// One value that a change alters, adds or removes.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Where: the names on the way to it, joined with dots; empty for the state as a whole.
    pub path: String,
    /// What it was; `None` where it is added.
    pub from: Option<Value>,
    /// What it becomes; `None` where it is removed.
    pub to: Option<Value>,
}

/// All differences, in the order of `from`, then what is new. Lists are compared as sets.
pub fn differences(from: &Value, to: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", from, to, &mut found);
    found
}

fn compare(path: &str, from: &Value, to: &Value, found: &mut Vec<Difference>) {
    match (from, to) {
        (a, b) if a == b => {}
        (Value::Object(a), Value::Object(b)) => {
            let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            for (name, from) in a {
                match b.get(name) {
                    Some(to) => compare(&below(name), from, to, found),
                    None => found.push(Difference { path: below(name), from: Some(from.clone()), to: None }),
                }
            }
            for (name, to) in b.iter().filter(|(name, _)| !a.contains_key(*name)) {
                found.push(Difference { path: below(name), from: None, to: Some(to.clone()) });
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            let mut left: Vec<&Value> = b.iter().collect();
            for item in a {
                match left.iter().position(|other| *other == item) {
                    Some(at) => drop(left.remove(at)),
                    None => {
                        found.push(Difference { path: path.to_owned(), from: Some(item.clone()), to: None });
                    }
                }
            }
            for item in left {
                found.push(Difference { path: path.to_owned(), from: None, to: Some(item.clone()) });
            }
        }
        (a, b) => {
            found.push(Difference { path: path.to_owned(), from: Some(a.clone()), to: Some(b.clone()) });
        }
    }
}

/// A value in a line, for people: text without quotes, the rest as JSON, cut and escaped.
pub fn in_a_line(value: &Value) -> String {
    match value {
        Value::String(text) => shown(text),
        Value::Null => "(none)".to_owned(),
        other => shown(&other.to_string()),
    }
}

/// All differences in a line.
pub fn summary(from: &Value, to: &Value) -> String {
    let one = |difference: &Difference| {
        let path = &difference.path;
        let name = if path.is_empty() { String::new() } else { format!("{path}: ") };
        match (&difference.from, &difference.to) {
            (Some(from), Some(to)) => format!("{name}{} -> {}", in_a_line(from), in_a_line(to)),
            (None, Some(to)) => format!("{name}+ {}", in_a_line(to)),
            (Some(from), None) => format!("{name}- {}", in_a_line(from)),
            (None, None) => name,
        }
    };
    differences(from, to).iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_what_differs_and_nothing_else() {
        let from = json!({ "status": "never", "kept": 1, "rules": ["a", "b"], "gone": true });
        let to = json!({ "status": "enabled", "kept": 1, "rules": ["b", "c"], "new": { "x": 1 } });
        assert_eq!(
            summary(&from, &to),
            "status: never -> enabled; rules: - a; rules: + c; gone: - true; new: + {\"x\":1}"
        );
        assert_eq!(summary(&from, &from), "");
    }

    #[test]
    fn an_order_is_no_difference_and_a_repetition_is() {
        assert!(differences(&json!([1, 2]), &json!([2, 1])).is_empty());
        assert_eq!(differences(&json!([1]), &json!([1, 1])).len(), 1);
    }

    #[test]
    fn control_characters_are_shown_not_sent() {
        let line = summary(&json!("a\u{1b}[31m"), &json!("b\nc"));
        assert!(!line.contains('\u{1b}') && !line.contains('\n'), "{line}");
    }
}
