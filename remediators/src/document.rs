//! Policy documents, edited without touching a byte beside the edit.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

use crate::text::excerpt;

/// A policy as a service returned it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Policy {
    /// One that can be edited.
    Document(Document),
    /// One that can't.
    Opaque {
        /// The whole text.
        text: String,
        /// Why not.
        why: String,
    },
}

/// A policy document, cut where statements begin and end. Put together again it is the text that was cut.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Document {
    /// All up to the value of `Statement`.
    head: String,
    /// Whether the value of `Statement` is a list, or one statement without one.
    array: bool,
    /// The statements, each with the white space around it.
    statements: Vec<String>,
    /// All after the value of `Statement`.
    tail: String,
}

impl Policy {
    /// Reads a policy; one that can't be understood whole is [`Policy::Opaque`].
    pub(crate) fn read(text: String) -> Self {
        match Document::cut(&text) {
            Ok(document) => Self::Document(document),
            Err(why) => Self::Opaque { text, why },
        }
    }

    /// The text, as it was read or as it is to be written.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Document(document) => document.text(),
            Self::Opaque { text, .. } => text.clone(),
        }
    }
}

impl PartialEq for Policy {
    /// Equal in [`normal`] form: services re-order and rewrite policies.
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (self.text(), other.text());
        one == two
            || match (strict(&one), strict(&two)) {
                (Ok(one), Ok(two)) => normal(&one) == normal(&two),
                _ => false,
            }
    }
}

/// The elements of a policy: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Top<'a> {
    #[serde(rename = "Version")]
    _version: Option<String>,
    #[serde(rename = "Id")]
    _id: Option<String>,
    #[serde(borrow, rename = "Statement")]
    statement: &'a RawValue,
}

impl Document {
    /// A policy of this one statement.
    #[cfg(feature = "s3")]
    pub(crate) fn of(statement: &Value) -> Self {
        Self {
            head: "{\"Version\":\"2012-10-17\",\"Statement\":".to_owned(),
            array: true,
            statements: vec![statement.to_string()],
            tail: "}".to_owned(),
        }
    }

    fn cut(text: &str) -> Result<Self, String> {
        let unreadable = |error: serde_json::Error| excerpt(&error.to_string());
        strict(text)?;
        let top: Top<'_> = serde_json::from_str(text).map_err(unreadable)?;
        let lost = || "its statements can't be told apart".to_owned();
        // The borrowed values are slices of the text: their addresses say where they stand.
        let place = |part: &str| part.as_ptr().addr().checked_sub(text.as_ptr().addr());
        let value = top.statement.get();
        let start = place(value).ok_or_else(lost)?;
        let end = start + value.len();
        let array = value.starts_with('[');
        let mut statements = Vec::new();
        if array {
            let items: Vec<&RawValue> = serde_json::from_str(value).map_err(unreadable)?;
            let mut from = start + 1;
            for item in &items {
                let behind = place(item.get()).ok_or_else(lost)? + item.get().len();
                // Between one value and the next there is white space and one comma.
                let stop =
                    text.get(behind..end - 1).ok_or_else(lost)?.find(',').map_or(end - 1, |at| behind + at);
                statements.push(text.get(from..stop).ok_or_else(lost)?.to_owned());
                from = stop + 1;
            }
            if items.is_empty() {
                return Err("it has no statement".to_owned());
            }
        } else {
            statements.push(value.to_owned());
        }
        if !statements.iter().all(|statement| statement.trim_start().starts_with('{')) {
            return Err("`Statement` is neither a statement nor a list of statements".to_owned());
        }
        let part = |range: Option<&str>| range.map(str::to_owned).ok_or_else(lost);
        let document =
            Self { head: part(text.get(..start))?, array, statements, tail: part(text.get(end..))? };
        if document.text() == text { Ok(document) } else { Err(lost()) }
    }

    /// The whole text.
    pub(crate) fn text(&self) -> String {
        let Self { head, array, statements, tail } = self;
        let statements = statements.join(",");
        if *array { format!("{head}[{statements}]{tail}") } else { format!("{head}{statements}{tail}") }
    }

    /// The statements, parsed.
    pub(crate) fn values(&self) -> Vec<Value> {
        self.statements.iter().filter_map(|statement| serde_json::from_str(statement).ok()).collect()
    }

    /// The statements as they stand there.
    pub(crate) fn statements(&self) -> &[String] {
        &self.statements
    }

    /// This policy with these statements in place of its own; `None` if there are none.
    pub(crate) fn with_statements(&self, statements: Vec<String>) -> Option<Self> {
        let array = self.array || statements.len() > 1;
        (!statements.is_empty()).then(|| Self { array, statements, ..self.clone() })
    }

    /// Whether it is nothing but statements and the `Version` that [`Document::of`] writes.
    #[cfg(feature = "s3")]
    pub(crate) fn is_bare(&self) -> bool {
        let Ok(Value::Object(mut fields)) = strict(&self.text()) else { return false };
        fields.remove("Statement");
        fields.len() == 1 && fields.get("Version").and_then(Value::as_str) == Some("2012-10-17")
    }

    /// This policy and, behind its last statement, one more.
    #[cfg(feature = "s3")]
    pub(crate) fn with(&self, statement: &Value) -> Self {
        let mut document = self.clone();
        document.array = true;
        document.statements.push(statement.to_string());
        document
    }

    /// This policy and those statements of `before` that `lost` names, where they stood there as far as can be.
    #[cfg(any(feature = "lambda", feature = "sns", feature = "sqs"))]
    pub(crate) fn with_those_of(&self, before: &Self, lost: impl Fn(&Value) -> bool) -> Self {
        let mut document = self.clone();
        for (place, text) in before.statements.iter().enumerate() {
            if serde_json::from_str(text).is_ok_and(|value| lost(&value)) {
                document.array = true;
                document.statements.insert(place.min(document.statements.len()), text.clone());
            }
        }
        document
    }

    /// This policy less the statements that `gone` names; `None` if nothing is left. A list that `before`
    /// did not have around its one statement goes as well.
    pub(crate) fn without(&self, gone: impl Fn(&Value) -> bool, before: Option<&Self>) -> Option<Self> {
        let mut document = self.clone();
        document.statements.retain(|text| !serde_json::from_str(text).is_ok_and(|value| gone(&value)));
        if document.statements.len() == 1 && before.is_some_and(|before| !before.array) {
            document.array = false;
        }
        (!document.statements.is_empty()).then_some(document)
    }
}

/// The text of an object less those items of its list `field` that `gone` names; no other byte changes. `None`
/// where that is no list, or nothing would be left of it.
pub(crate) fn narrowed(text: &str, field: &str, gone: impl Fn(&Value) -> bool) -> Option<String> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    let list = fields.get(field)?.get();
    let start = list.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    let items: Vec<&RawValue> = serde_json::from_str(list).ok()?;
    let mut kept = Vec::new();
    let mut from = 1;
    for item in items {
        let behind = item.get().as_ptr().addr().checked_sub(list.as_ptr().addr())? + item.get().len();
        // Between one value and the next there is white space and one comma.
        let stop = list.get(behind..list.len() - 1)?.find(',').map_or(list.len() - 1, |at| behind + at);
        let value: Value = serde_json::from_str(item.get()).ok()?;
        if !gone(&value) {
            kept.push(list.get(from..stop)?);
        }
        from = stop + 1;
    }
    if kept.is_empty() {
        return None;
    }
    Some(format!("{}[{}]{}", text.get(..start)?, kept.join(","), text.get(start + list.len()..)?))
}

/// Parses JSON, and refuses what JSON parsers read differently: a name that occurs twice in one object,
/// and NUL in a text.
fn strict(text: &str) -> Result<Value, String> {
    serde_json::from_str::<Strict>(text).map(|strict| strict.0).map_err(|error| excerpt(&error.to_string()))
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Strict, E> {
        if value.contains('\0') {
            return Err(E::custom("a text holds NUL"));
        }
        Ok(Strict(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
        let mut found = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            found.push(item);
        }
        Ok(Strict(Value::Array(found)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Strict, A::Error> {
        let mut found = Map::new();
        while let Some((name, Strict(value))) = fields.next_entry::<String, Strict>()? {
            if name.contains('\0') {
                return Err(A::Error::custom("a name holds NUL"));
            }
            if found.contains_key(&name) {
                return Err(A::Error::custom(format!("`{name}` occurs twice")));
            }
            found.insert(name, value);
        }
        Ok(Strict(Value::Object(found)))
    }
}

/// A form that is equal for all ways to write the same policy or part of one: a list is a set, a list of
/// one is that one, numbers and truth values are text, and `{"AWS": "*"}` is everybody.
pub(crate) fn normal(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(normal).collect();
            items.sort_by_cached_key(Value::to_string);
            items.dedup();
            match items.as_slice() {
                [only] => only.clone(),
                _ => Value::Array(items),
            }
        }
        Value::Object(fields) => {
            let mut fields: Vec<(&String, Value)> =
                fields.iter().map(|(name, value)| (name, normal(value))).collect();
            fields.sort_by_key(|(name, _)| *name);
            match fields.as_slice() {
                [(name, who)] if *name == "AWS" && who == "*" => who.clone(),
                _ => Value::Object(fields.into_iter().map(|(name, value)| (name.clone(), value)).collect()),
            }
        }
        Value::Bool(_) | Value::Number(_) => Value::String(value.to_string()),
        Value::Null | Value::String(_) => value.clone(),
    }
}

#[cfg(all(test, feature = "s3"))]
pub(crate) mod test {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use serde_json::json;

    use super::*;
    use crate::raw::test::Dice;

    /// A policy as somebody may have written it.
    pub(crate) fn any_policy(dice: &mut Dice) -> String {
        let mut text = space(dice);
        let mut fields = Vec::new();
        if dice.below(4) > 0 {
            fields.push(format!("\"Version\"{}:{}\"2012-10-17\"", space(dice), space(dice)));
        }
        if dice.below(2) > 0 {
            fields.push(format!("\"Id\":{}\"{}\"", space(dice), odd(dice)));
        }
        let name = dice.pick(&["Statement", "St\\u0061tement"]);
        let statement = if dice.below(4) == 0 {
            any_statement(dice)
        } else {
            let many: Vec<String> = (0..=dice.below(4))
                .map(|_| format!("{}{}{}", space(dice), any_statement(dice), space(dice)))
                .collect();
            format!("[{}]", many.join(","))
        };
        fields.insert(
            dice.below(fields.len() + 1),
            format!("{}\"{name}\"{}:{}{statement}{}", space(dice), space(dice), space(dice), space(dice)),
        );
        text += "{";
        text += &fields.join(",");
        text += "}";
        text += &space(dice);
        text
    }

    fn any_statement(dice: &mut Dice) -> String {
        let (one, two, three) = (odd(dice), odd(dice), odd(dice));
        let action = dice.pick(&["\"s3:GetObject\"", "[ \"s3:*\" , \"s3:Get,{}[]*\" ]", "[]"]);
        let condition = dice.pick(&[
            "{}",
            "{\"Bool\":{\"aws:SecureTransport\":false}}",
            "{ \"StringLike\" : { \"aws:Referer\": [\"],}\\\"\", \"{\"] } }",
            "{\"NumericLessThan\":{\"s3:TlsVersion\":1.20e0}}",
        ]);
        format!(
            "{{{}\"Sid\":\"{one}\",\"Effect\":{}\"Allow\",\"Principal\":{{\"AWS\":\"{two}\"}},\
             \"Action\":{action},\"Resource\" :[\"{three}\"],\"Condition\":{condition}{}}}",
            space(dice),
            space(dice),
            space(dice)
        )
    }

    fn space(dice: &mut Dice) -> String {
        dice.pick(&["", "", " ", "\n", "\r\n\t", "    "]).to_owned()
    }

    fn odd(dice: &mut Dice) -> String {
        (0..dice.below(4))
            .map(|_| {
                dice.pick(&[
                    "a",
                    "\\u0022",
                    "\\\"",
                    "\\\\",
                    "é",
                    "\\ud83d\\ude00",
                    "😀",
                    ",",
                    "}",
                    "]",
                    "{[",
                    "\\n",
                ])
            })
            .collect()
    }

    fn document(text: &str) -> Document {
        match Policy::read(text.to_owned()) {
            Policy::Document(document) => document,
            Policy::Opaque { why, .. } => panic!("{why}: {text}"),
        }
    }

    #[test]
    fn an_edit_changes_no_other_byte_and_its_removal_none_at_all() {
        let mut dice = Dice(1);
        let ours = json!({ "Sid": "Ours", "Effect": "Deny" });
        let gone = |value: &Value| value == &ours;
        for _ in 0..2_000 {
            let text = any_policy(&mut dice);
            let before = document(&text);
            assert_eq!(before.text(), text);
            let after = before.with(&ours);
            let edited = after.text();

            // Taking out what was put in leaves the text: nothing else has moved.
            let added = ours.to_string();
            let at = edited.rfind(&added).unwrap();
            let (head, tail) = (&edited[..at], &edited[at + added.len()..]);
            if before.array {
                assert_eq!(format!("{}{tail}", head.strip_suffix(',').unwrap()), text);
            } else {
                let head = head.strip_suffix(',').unwrap();
                let (open, one) = head.split_once(before.statements[0].as_str()).unwrap();
                assert_eq!(
                    format!("{}{}{one}{}", open.strip_suffix('[').unwrap(), before.statements[0], &tail[1..]),
                    text
                );
            }

            // What it says is what it said, and the new statement.
            let mut all = before.values();
            all.push(ours.clone());
            let read = document(&edited);
            assert_eq!(read.values(), all);
            let parsed: Value = serde_json::from_str(&edited).unwrap();
            assert_eq!(parsed["Statement"], Value::Array(all));

            assert_eq!(read.without(gone, Some(&before)).unwrap().text(), text);
        }
    }

    #[test]
    fn what_stays_when_others_have_edited_too() {
        let single = document("{\"Statement\": {\"Sid\":\"a\"} }");
        let edited = single.with(&json!({ "Sid": "Ours" }));
        assert_eq!(edited.text(), "{\"Statement\": [{\"Sid\":\"a\"},{\"Sid\":\"Ours\"}] }");
        let gone = |value: &Value| value["Sid"] == "Ours";
        let theirs = document("{\"Statement\": [{\"Sid\":\"Ours\"},\n {\"Sid\":\"b\"} , {\"Sid\":\"c\"}]}");
        let left = theirs.without(gone, Some(&single)).unwrap();
        assert_eq!(left.text(), "{\"Statement\": [\n {\"Sid\":\"b\"} , {\"Sid\":\"c\"}]}");
        assert!(document("{\"Statement\":[{\"Sid\":\"Ours\"}]}").without(gone, None).is_none());
    }

    #[test]
    fn what_cannot_be_understood_whole_is_opaque() {
        let deep = format!("{{\"Statement\":{{\"A\":{}{}}}}}", "[".repeat(500), "]".repeat(500));
        for (text, reason) in [
            ("", "EOF"),
            ("not json", "expected"),
            ("{\"Statement\":[{}]", "EOF"),
            ("{\"Statement\":[{}]} x", "trailing"),
            ("[]", "invalid"),
            ("null", "invalid"),
            ("{\"Version\":\"2012-10-17\"}", "Statement"),
            ("{\"Statement\":[]}", "no statement"),
            ("{\"Statement\":\"x\"}", "neither"),
            ("{\"Statement\":null}", "neither"),
            ("{\"Statement\":[{},1]}", "neither"),
            ("{\"Statement\":[[{}]]}", "neither"),
            ("{\"Statement\":[{}],\"Statement\":[{}]}", "twice"),
            ("{\"Statement\":[{\"Sid\":1,\"S\\u0069d\":2}]}", "twice"),
            ("{\"Statement\":[{}],\"statement\":[{}]}", "unknown field"),
            ("{\"Statement\":[{}],\"More\":1}", "unknown field"),
            ("{\"Version\":[],\"Statement\":[{}]}", "expected a string"),
            ("{\"Statement\":[{\"Sid\":\"a\\u0000\"}]}", "NUL"),
            ("{\"Statement\":[{\"a\\u0000\":1}]}", "NUL"),
            ("{\"Statement\":[{\"Sid\":\"a\u{0}\"}]}", "control character"),
            ("\u{feff}{\"Statement\":[{}]}", "expected"),
            ("{\"Statement\":[{\"A\":1e999}]}", "out of range"),
            (deep.as_str(), "recursion"),
        ] {
            let policy = Policy::read(text.to_owned());
            let Policy::Opaque { why, .. } = &policy else { panic!("{text}") };
            assert!(why.contains(reason), "{text}: {why}");
            assert!(why.len() < 600);
            assert_eq!(policy.text(), text);
            let stored = serde_json::to_value(&policy).unwrap();
            assert_eq!(serde_json::from_value::<Policy>(stored).unwrap().text(), text);
        }
    }

    #[test]
    fn the_same_policy_written_another_way_is_equal() {
        let policy = |value: &Value| Policy::read(value.to_string());
        let one = json!({ "Version": "2012-10-17", "Statement": [
            { "Sid": "a", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["r", "r/*"],
              "Condition": { "Bool": { "aws:SecureTransport": "false" } } },
            { "Sid": "b", "Effect": "Allow", "Principal": { "AWS": ["1", "2"] }, "Action": ["x", "y"] },
        ] });
        let same = json!({ "Statement": [
            { "Action": ["y", "x"], "Effect": "Allow", "Principal": { "AWS": ["2", "1"] }, "Sid": "b" },
            { "Principal": { "AWS": "*" }, "Resource": ["r/*", "r"], "Action": ["s3:*"], "Effect": "Deny",
              "Condition": { "Bool": { "aws:SecureTransport": false } }, "Sid": "a" },
        ], "Version": "2012-10-17" });
        assert_eq!(policy(&one), policy(&same));
        let stored = serde_json::to_value(policy(&one)).unwrap();
        assert_eq!(serde_json::from_value::<Policy>(stored).unwrap(), policy(&same));
        for (place, other) in [
            ("/Statement/0/Action", json!("s3:Get*")),
            ("/Statement/0/Principal", json!({ "AWS": "1" })),
            ("/Statement/0/Resource", json!("r")),
            ("/Statement/1/Sid", json!("c")),
            ("/Statement/1/Condition", json!({})),
            ("/Version", json!("2008-10-17")),
        ] {
            let mut changed = one.clone();
            match changed.pointer_mut(place) {
                Some(value) => *value = other,
                None => changed["Statement"][1]["Condition"] = other,
            }
            assert_ne!(policy(&one), policy(&changed), "{place}");
        }
    }
}
