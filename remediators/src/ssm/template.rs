//! Text of a rule with places that a finding fills.

use std::{collections::BTreeMap, fmt};

use crate::FIELDS;

/// Text in which `{field}` stands for a field of the finding, and `{{` and `}}` for braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let field = if brace == "{" { rest.split_once('}') } else { None };
            let Some((field, after)) = field else {
                return Err(format!(
                    "a `{brace}` stands alone; write `{brace}{brace}` for the character itself"
                ));
            };
            if !FIELDS.contains(&field) && !field.starts_with("finding:/") {
                return Err(format!(
                    "`{{{}}}` is none of {} and `finding:/…`",
                    field.escape_debug(),
                    FIELDS.map(|field| format!("`{field}`")).join(", ")
                ));
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Field(field.to_owned()));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            Part::Field(field) => write!(f, "{{{field}}}"),
        })
    }
}

impl Template {
    /// The fields that it names.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Field(field) => Some(field.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text with its fields filled in; `Err` names one that is not there.
    pub(crate) fn fill(&self, fields: &BTreeMap<String, String>) -> Result<String, String> {
        let fill = |part: &Part| match part {
            Part::Text(text) => Ok(text.clone()),
            Part::Field(field) => fields
                .get(field)
                .cloned()
                .ok_or_else(|| format!("`{{{}}}` is not known", field.escape_debug())),
        };
        self.0.iter().map(fill).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn fields_are_filled_and_braces_stay() {
        let fields = [("resource.id", "logs"), ("finding:/a/0", "x")];
        let fields = fields.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        for (text, filled) in [
            ("", ""),
            ("plain", "plain"),
            ("{resource.id}", "logs"),
            ("s3://{resource.id}/{finding:/a/0}.json", "s3://logs/x.json"),
            ("{{\"a\": \"{resource.id}\"}}", "{\"a\": \"logs\"}"),
            ("{{{resource.id}}}", "{logs}"),
        ] {
            let template = Template::try_from(text.to_owned()).unwrap();
            assert_eq!(template.fill(&fields).as_deref(), Ok(filled), "{text}");
            assert_eq!(template.to_string(), text);
        }
        let template = Template::try_from("{account}".to_owned()).unwrap();
        assert_eq!(template.fields().collect::<Vec<_>>(), ["account"]);
        assert!(template.fill(&fields).unwrap_err().contains("`{account}`"));
    }

    #[test]
    fn a_field_that_there_is_none_of_is_a_fault_of_the_rule() {
        for (text, why) in [
            ("{", "`{`"),
            ("}", "`}}`"),
            ("{resource.id", "`{{`"),
            ("{resource}", "`resource.id`"),
            ("{}", "`{}`"),
            ("{Id\n}", "\\n"),
            ("{finding:Id}", "`finding:/…`"),
        ] {
            let fault = Template::try_from(text.to_owned()).unwrap_err();
            assert!(fault.contains(why) && !fault.contains('\n'), "{text}: {fault}");
        }
    }
}
