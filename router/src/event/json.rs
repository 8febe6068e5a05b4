//! Reading of untrusted JSON: every error names the place, and no key may stand twice.
//!
//! `serde_json` keeps the last of two equal keys, other readers the first: a finding that says `PASSED` to
//! the one and `FAILED` to the other must not get further than this.

use std::{borrow::Cow, collections::HashSet, fmt, ops::Deref};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::{InvalidEvent, shown};

/// A string that is borrowed from the input wherever it holds no escape.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The members of one object, each still as it came.
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads one object.
    pub(crate) fn read(raw: &'a RawValue, place: &str) -> Result<Self, InvalidEvent> {
        if !raw.get().starts_with('{') {
            return Err(InvalidEvent::new(place, format!("{}, where an object belongs", kind_of(raw))));
        }
        serde_json::from_str(raw.get()).map_err(|error| syntax(&error, place))
    }

    /// A member; `null` counts as none.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(key, raw)| key == name && raw.get() != "null").map(|(_, raw)| *raw)
    }

    /// A member that must be a string where it is there.
    pub(crate) fn text(&self, name: &str, place: &str) -> Result<Option<String>, InvalidEvent> {
        self.get(name).map(|raw| text(raw, &join(place, name))).transpose()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut seen, mut members) = (HashSet::new(), Vec::new());
                while let Some((Text(key), raw)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    if !seen.insert(key.clone()) {
                        return Err(A::Error::custom(format_args!("key `{}` stands twice", shown(&key))));
                    }
                    members.push((key, raw));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object).map(Members)
    }
}

/// Reads one string.
pub(crate) fn text(raw: &RawValue, place: &str) -> Result<String, InvalidEvent> {
    if raw.get().starts_with('"') {
        serde_json::from_str(raw.get()).map_err(|error| syntax(&error, place))
    } else {
        Err(InvalidEvent::new(place, format!("{}, where a string belongs", kind_of(raw))))
    }
}

/// The elements of one array, each still as it came.
pub(crate) fn elements<'a>(raw: &'a RawValue, place: &str) -> Result<Vec<&'a RawValue>, InvalidEvent> {
    if raw.get().starts_with('[') {
        serde_json::from_str(raw.get()).map_err(|error| syntax(&error, place))
    } else {
        Err(InvalidEvent::new(place, format!("{}, where an array belongs", kind_of(raw))))
    }
}

/// Reads a whole value, in which no object may hold a key twice.
pub(crate) fn value(raw: &RawValue, place: &str) -> Result<Value, InvalidEvent> {
    let mut path = Path { segments: Vec::new(), twice: false };
    let mut input = serde_json::Deserializer::from_str(raw.get());
    if let Err(error) = (Unique { path: &mut path }).deserialize(&mut input) {
        return Err(if path.twice {
            let place = path.segments.iter().fold(place.to_owned(), |place, segment| segment.after(&place));
            InvalidEvent::new(&place, "key stands twice")
        } else {
            syntax(&error, place)
        });
    }
    serde_json::from_str(raw.get()).map_err(|error| syntax(&error, place))
}

/// An error of `serde_json`'s in a line.
pub(crate) fn syntax(error: &serde_json::Error, place: &str) -> InvalidEvent {
    let message = error.to_string();
    let what = if message.starts_with("recursion limit") {
        "nested deeper than 127 levels".to_owned()
    } else if error.is_data() {
        message
    } else {
        format!("not JSON: {message}")
    };
    InvalidEvent::new(place, what)
}

/// The place of a member: `detail.findings[0]` and `Id` make `detail.findings[0].Id`.
pub(crate) fn join(place: &str, name: &str) -> String {
    match place {
        "" => name.to_owned(),
        _ if place.ends_with(':') => format!("{place} {name}"),
        _ => format!("{place}.{name}"),
    }
}

fn kind_of(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

struct Path<'de> {
    segments: Vec<Segment<'de>>,
    twice: bool,
}

enum Segment<'de> {
    Key(Cow<'de, str>),
    Index(usize),
}

impl Segment<'_> {
    fn after(&self, place: &str) -> String {
        match self {
            Self::Key(key) => join(place, key),
            Self::Index(index) => format!("{place}[{index}]"),
        }
    }
}

/// Walks over a value and stops at the first key that stands twice in its object.
struct Unique<'p, 'de> {
    path: &'p mut Path<'de>,
}

impl<'de> DeserializeSeed<'de> for Unique<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            self.path.segments.push(Segment::Index(index));
            if seq.next_element_seed(Unique { path: self.path })?.is_none() {
                break;
            }
            self.path.segments.pop();
        }
        self.path.segments.pop();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            self.path.segments.push(Segment::Key(key.clone()));
            if !seen.insert(key) {
                self.path.twice = true;
                return Err(A::Error::custom("key stands twice"));
            }
            map.next_value_seed(Unique { path: self.path })?;
            self.path.segments.pop();
        }
        Ok(())
    }
}

/// A value and its place in the input. Members that are missing or `null` are `None` all the way down.
#[derive(Clone)]
pub(crate) struct Node<'v> {
    value: Option<&'v Value>,
    place: String,
}

impl<'v> Node<'v> {
    pub(crate) fn new(value: &'v Value, place: &str) -> Self {
        Self { value: Some(value), place: place.to_owned() }
    }

    /// A member of an object.
    pub(crate) fn get(&self, name: &str) -> Result<Self, InvalidEvent> {
        let value = match self.value {
            None => None,
            Some(Value::Object(members)) => members.get(name).filter(|value| !value.is_null()),
            Some(_) => return Err(self.wrong("an object")),
        };
        Ok(Self { value, place: join(&self.place, name) })
    }

    /// A member of a member of …
    pub(crate) fn at(&self, path: &[&str]) -> Result<Self, InvalidEvent> {
        path.iter().try_fold(self.clone(), |node, name| node.get(name))
    }

    /// The elements of an array; none, where it is missing.
    pub(crate) fn items(&self) -> Result<Vec<Self>, InvalidEvent> {
        match self.value {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items
                .iter()
                .enumerate()
                .map(|(index, value)| Self { value: Some(value), place: format!("{}[{index}]", self.place) })
                .collect()),
            Some(_) => Err(self.wrong("an array")),
        }
    }

    /// The members of an object; none, where it is missing.
    pub(crate) fn members(&self) -> Result<Vec<(&'v str, Self)>, InvalidEvent> {
        match self.value {
            None => Ok(Vec::new()),
            Some(Value::Object(members)) => Ok(members
                .iter()
                .map(|(name, value)| {
                    (name.as_str(), Self { value: Some(value), place: join(&self.place, name) })
                })
                .collect()),
            Some(_) => Err(self.wrong("an object")),
        }
    }

    /// A string.
    pub(crate) fn text(&self) -> Result<Option<&'v str>, InvalidEvent> {
        match self.value {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong("a string")),
        }
    }

    /// A string that must be there.
    pub(crate) fn required(&self) -> Result<&'v str, InvalidEvent> {
        self.text()?.ok_or_else(|| self.invalid("missing"))
    }

    /// A whole number.
    pub(crate) fn integer(&self) -> Result<Option<i64>, InvalidEvent> {
        match self.value {
            None => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| self.wrong("a whole number")),
        }
    }

    /// A number, also where it stands in quotes.
    pub(crate) fn number(&self) -> Option<f64> {
        match self.value? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A truth value.
    pub(crate) fn truth(&self) -> Result<bool, InvalidEvent> {
        match self.value {
            None => Ok(false),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(_) => Err(self.wrong("true or false")),
        }
    }

    /// The value; `null` where it is missing.
    pub(crate) fn value(&self) -> &'v Value {
        self.value.unwrap_or(&Value::Null)
    }

    /// Whether the value is there.
    pub(crate) fn is_some(&self) -> bool {
        self.value.is_some()
    }

    /// An error at this place.
    pub(crate) fn invalid(&self, what: impl Into<String>) -> InvalidEvent {
        InvalidEvent::new(&self.place, what.into())
    }

    fn wrong(&self, wanted: &str) -> InvalidEvent {
        let kind = match self.value() {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        self.invalid(format!("{kind}, where {wanted} belongs"))
    }
}
