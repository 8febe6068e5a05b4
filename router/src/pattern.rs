//! `EventBridge` event patterns, compiled once and matched often, with AWS's semantics.
//!
//! The language is that of the
//! [user guide](https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html),
//! the finer points those of [event-ruler](https://github.com/aws/event-ruler), which `EventBridge` runs on:
//!
//! - every leaf is a list of alternatives; fields are joined by *and*, `$or` at any level by *or*;
//! - `{"a": {"b": […]}}` and `{"a.b": […]}` are one path, in patterns and in events;
//! - of an event's list any value will do, but two fields below a list of objects must be of the *same*
//!   object; an empty list is no value at all;
//! - what must not exist (`exists: false`) must not in the object of a list that an earlier field has settled on, and
//!   where none has, in none of them; fields come in the order of their paths, as in event-ruler's `ACFinder`;
//! - numbers are compared as numbers: `300` is `300.0`.

use std::{collections::BTreeMap, net::IpAddr, ops::Range};

use serde_json::{Map, Number, Value};

/// How deep a pattern may be nested.
const DEEPEST: usize = 100;

/// How many combinations the alternatives of all `$or` may make, as at AWS; and, which AWS has no limit for, those of
/// fields that may be missing or have a value.
const MOST_COMBINATIONS: usize = 1000;

/// The largest number that a `numeric` takes, by the user guide.
const LARGEST: f64 = 5.0e9;

/// Words that make an object an operator. An `$or` over objects with such keys is an ordinary field.
const RESERVED: [&str; 26] = [
    "exactly",
    "equals-ignore-case",
    "prefix",
    "suffix",
    "anything-but",
    "exists",
    "wildcard",
    "numeric",
    "cidr",
    "=",
    "<",
    "<=",
    ">",
    ">=",
    "regex",
    "not-wildcard",
    "not-equals-ignore-case",
    "date-after",
    "date-on-or-after",
    "date-before",
    "date-on-or-before",
    "in-date-range",
    "ip-address-in-range",
    "ip-address-not-in-range",
    "anything-but-prefix",
    "anything-but-suffix",
];

/// A compiled event pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: Value,
    /// One tree for each combination of alternatives: those of `$or`, and of fields that may be missing.
    trees: Vec<Tree>,
}

/// What is wrong with a pattern, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", if .place.is_empty() { String::new() } else { format!("`{}`: ", .place.escape_debug()) })]
pub struct PatternError {
    /// The way to it, such as `Severity.Label[1].numeric`; empty for the pattern as a whole.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

/// Paths that share a beginning share their way: that keeps fields below a list to one of its objects.
#[derive(Clone, Debug, Default)]
struct Tree {
    leaf: Option<Leaf>,
    children: BTreeMap<String, Tree>,
}

/// What is asked of one field.
#[derive(Clone, Debug)]
enum Leaf {
    /// One of these holds of one of its values.
    Value(Vec<Matcher>),
    /// It has no value. In lists below more than so many names of its path, in none of their objects: no field that
    /// comes before it goes that way, and settles on one.
    Missing { settled: usize },
}

#[derive(Clone, Debug)]
enum Matcher {
    Text(String),
    Number(f64),
    Bool(bool),
    Null,
    Exists(bool),
    Numeric(Vec<(Comparison, f64)>),
    Cidr(IpAddr, u8),
    Is(Test),
    Not(Vec<Unwanted>),
}

/// A test of a text.
#[derive(Clone, Debug)]
enum Test {
    Prefix(String),
    Suffix(String),
    PrefixAnyCase(String),
    SuffixAnyCase(String),
    AnyCase(String),
    Wildcard(Vec<Piece>),
}

/// What `anything-but` excludes.
#[derive(Clone, Debug)]
enum Unwanted {
    Text(String),
    Number(f64),
    Test(Test),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Any,
}

type Result<T> = std::result::Result<T, PatternError>;
type Paths = BTreeMap<String, (String, Vec<Matcher>)>;

fn fault<T>(place: &str, what: impl Into<String>) -> Result<T> {
    Err(PatternError { place: place.to_owned(), what: what.into() })
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What `EventBridge` would refuse, with its place.
    pub fn compile(source: &Value) -> Result<Self> {
        let Value::Object(map) = source else { return fault("", "a pattern is an object") };
        if map.is_empty() {
            return fault("", "a pattern names at least one field");
        }
        let mut trees = Vec::new();
        for paths in combinations("", "", map, 0)? {
            let ways = ways(paths);
            if trees.len() + ways.len() > MOST_COMBINATIONS {
                let what = "fields that may be missing or have a value";
                return fault("", format!("{what} make more than {MOST_COMBINATIONS} combinations"));
            }
            trees.extend(ways.into_iter().map(Tree::new));
        }
        Ok(Self { source: source.clone(), trees })
    }

    /// The pattern as it was written.
    pub fn as_json(&self) -> &Value {
        &self.source
    }

    /// Whether an event matches. Linear in the event for each field of the pattern.
    pub fn matches(&self, event: &Value) -> bool {
        if has_dots(event) {
            let event = nested(event, 0);
            return self.trees.iter().any(|tree| tree.matches(Some(&event), 0, 0));
        }
        self.trees.iter().any(|tree| tree.matches(Some(event), 0, 0))
    }
}

/// Every combination of alternatives below `map`: each a set of paths.
fn combinations(path: &str, place: &str, map: &Map<String, Value>, depth: usize) -> Result<Vec<Paths>> {
    if depth > DEEPEST {
        return fault(place, format!("is nested deeper than {DEEPEST} levels"));
    }
    let mut all = vec![Paths::new()];
    for (name, value) in map {
        let below = |parent: &str| if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
        let here = below(place);
        let alternatives = if name == "$or" && is_or(value) {
            let mut alternatives = Vec::new();
            for (number, alternative) in value.as_array().into_iter().flatten().enumerate() {
                let at = format!("{here}[{number}]");
                match alternative {
                    Value::Object(map) if map.is_empty() => return fault(&at, "names no field"),
                    Value::Object(map) => alternatives.extend(combinations(path, &at, map, depth + 1)?),
                    _ => return fault(&at, "is no object"),
                }
            }
            alternatives
        } else {
            let path = below(path);
            match value {
                Value::Object(map) if map.is_empty() => return fault(&here, "names no field"),
                Value::Object(map) => combinations(&path, &here, map, depth + 1)?,
                Value::Array(list) if list.is_empty() => return fault(&here, "is an empty list"),
                Value::Array(list) => {
                    let matchers: Result<Vec<_>> = list
                        .iter()
                        .enumerate()
                        .map(|(number, value)| matcher(&format!("{here}[{number}]"), value))
                        .collect();
                    vec![Paths::from([(path, (here.clone(), matchers?))])]
                }
                _ => return fault(&here, "is neither an object nor a list of values"),
            }
        };
        if all.len().saturating_mul(alternatives.len()) > MOST_COMBINATIONS {
            return fault(&here, format!("`$or` makes more than {MOST_COMBINATIONS} combinations"));
        }
        let mut joined = Vec::new();
        for left in &all {
            for right in &alternatives {
                let mut both = left.clone();
                for (path, leaf) in right {
                    if both.insert(path.clone(), leaf.clone()).is_some() {
                        return fault(&leaf.0, "is there twice");
                    }
                }
                joined.push(both);
            }
        }
        all = joined;
    }
    Ok(all)
}

/// The fields of a pattern, in their order.
type Way = Vec<(String, Leaf)>;

/// Every way for a pattern to hold: each field that may be missing or have a value is the one, or the other. At most one
/// way more than there may be.
fn ways(paths: Paths) -> Vec<Way> {
    let mut ways = vec![Way::new()];
    for (path, (_, matchers)) in paths {
        let (missing, values): (Vec<_>, Vec<_>) =
            matchers.into_iter().partition(|matcher| matches!(matcher, Matcher::Exists(false)));
        let mut next = Vec::new();
        for way in ways {
            if !missing.is_empty() {
                let before = way.iter().filter(|(_, leaf)| matches!(leaf, Leaf::Value(_)));
                let settled = before.map(|(other, _)| common_names(&path, other)).max().unwrap_or_default();
                next.push(with(&way, &path, Leaf::Missing { settled }));
            }
            if !values.is_empty() {
                next.push(with(&way, &path, Leaf::Value(values.clone())));
            }
        }
        next.truncate(MOST_COMBINATIONS + 1);
        ways = next;
    }
    ways
}

fn with(way: &Way, path: &str, leaf: Leaf) -> Way {
    let mut way = way.clone();
    way.push((path.to_owned(), leaf));
    way
}

/// How many names two paths begin with in common.
fn common_names(path: &str, other: &str) -> usize {
    path.split('.').zip(other.split('.')).take_while(|(name, other)| name == other).count()
}

/// `$or` is an operator only over two or more objects, none of which is an operator itself.
fn is_or(value: &Value) -> bool {
    value.as_array().is_some_and(|list| {
        list.len() >= 2
            && list.iter().all(|one| {
                one.as_object().is_some_and(|map| map.keys().all(|key| !RESERVED.contains(&key.as_str())))
            })
    })
}

fn matcher(place: &str, value: &Value) -> Result<Matcher> {
    let operator = match value {
        Value::String(text) => return Ok(Matcher::Text(text.clone())),
        Value::Number(number) => return Ok(Matcher::Number(float(number))),
        Value::Bool(value) => return Ok(Matcher::Bool(*value)),
        Value::Null => return Ok(Matcher::Null),
        Value::Array(_) => return fault(place, "is a list within a list"),
        Value::Object(operator) => operator,
    };
    let mut entries = operator.iter();
    let (Some((name, value)), None) = (entries.next(), entries.next()) else {
        return fault(place, "an operator is an object with one key");
    };
    let place = format!("{place}.{name}");
    match name.as_str() {
        "exactly" => Ok(Matcher::Text(text(&place, value)?)),
        "exists" => match value {
            Value::Bool(value) => Ok(Matcher::Exists(*value)),
            _ => fault(&place, "is neither true nor false"),
        },
        "numeric" => numeric(&place, value),
        "cidr" => cidr(&place, &text(&place, value)?),
        "anything-but" => anything_but(&place, value),
        "prefix" | "suffix" | "equals-ignore-case" | "wildcard" => {
            Ok(Matcher::Is(test(&place, name, value, true)?))
        }
        _ => fault(&place, "there is no such operator"),
    }
}

fn text(place: &str, value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        _ => fault(place, "is no text"),
    }
}

fn test(place: &str, name: &str, value: &Value, plain: bool) -> Result<Test> {
    // Within `anything-but`, the ignore-case forms of prefix and suffix are refused.
    if let (Value::Object(map), true, "prefix" | "suffix") = (value, plain, name) {
        let mut entries = map.iter();
        let (Some((inner, value)), None) = (entries.next(), entries.next()) else {
            return fault(place, "an operator is an object with one key");
        };
        let place = format!("{place}.{inner}");
        if inner != "equals-ignore-case" {
            return fault(&place, "there is no such operator");
        }
        let text = text(&place, value)?.to_lowercase();
        return Ok(if name == "prefix" { Test::PrefixAnyCase(text) } else { Test::SuffixAnyCase(text) });
    }
    let text = text(place, value)?;
    if !plain && text.is_empty() {
        return fault(place, "is empty");
    }
    Ok(match name {
        "prefix" => Test::Prefix(text),
        "suffix" => Test::Suffix(text),
        "equals-ignore-case" => Test::AnyCase(text.to_lowercase()),
        _ => Test::Wildcard(wildcard(place, &text)?),
    })
}

fn wildcard(place: &str, text: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '*' => {
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                if pieces.last() == Some(&Piece::Any) {
                    return fault(place, "two `*` stand side by side");
                }
                pieces.push(Piece::Any);
            }
            '\\' => match characters.next() {
                Some(escaped @ ('*' | '\\')) => literal.push(escaped),
                _ => return fault(place, "only `\\*` and `\\\\` are escapes"),
            },
            other => literal.push(other),
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(pieces)
}

fn numeric(place: &str, value: &Value) -> Result<Matcher> {
    let Value::Array(list) = value else { return fault(place, "is no list") };
    let mut bounds = Vec::new();
    for pair in list.chunks(2) {
        let [Value::String(comparison), Value::Number(number)] = pair else {
            return fault(place, "is not made of pairs of a comparison and a number");
        };
        let comparison = match comparison.as_str() {
            "<" => Comparison::Less,
            "<=" => Comparison::AtMost,
            "=" => Comparison::Equal,
            ">=" => Comparison::AtLeast,
            ">" => Comparison::More,
            other => return fault(place, format!("`{}` is no comparison", other.escape_debug())),
        };
        let number = float(number);
        if number.abs() > LARGEST {
            return fault(place, "is beyond 5.0e9, the largest number that EventBridge compares");
        }
        bounds.push((comparison, number));
    }
    use Comparison::{AtLeast, AtMost, Equal, Less, More};
    match bounds.as_slice() {
        [_] => Ok(Matcher::Numeric(bounds)),
        [(More | AtLeast, low), (Less | AtMost, high)] if low < high => Ok(Matcher::Numeric(bounds)),
        [(More | AtLeast, _), (Less | AtMost, _)] => fault(place, "the lower bound is not below the upper"),
        [] => fault(place, "is an empty list"),
        [(Equal, _), ..] => fault(place, "`=` stands alone"),
        _ => fault(place, "a range is a lower bound, then an upper bound"),
    }
}

fn cidr(place: &str, text: &str) -> Result<Matcher> {
    let parsed = text.split_once('/').and_then(|(address, bits)| {
        let address: IpAddr = address.parse().ok()?;
        let bits: u8 = bits.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        (bits <= most).then_some((address, bits))
    });
    match parsed {
        Some((address, bits)) => Ok(Matcher::Cidr(address, bits)),
        None => fault(place, "is no address block such as 10.0.0.0/24"),
    }
}

fn anything_but(place: &str, value: &Value) -> Result<Matcher> {
    let plain = |place: &str, value: &Value| match value {
        Value::String(text) => Ok(Unwanted::Text(text.clone())),
        Value::Number(number) => Ok(Unwanted::Number(float(number))),
        _ => fault(place, "is neither a text nor a number"),
    };
    match value {
        Value::Array(list) if list.is_empty() => fault(place, "is an empty list"),
        Value::Array(list) => {
            if list.iter().any(Value::is_string) && list.iter().any(Value::is_number) {
                return fault(place, "mixes texts and numbers");
            }
            let unwanted: Result<_> = list.iter().map(|value| plain(place, value)).collect();
            Ok(Matcher::Not(unwanted?))
        }
        Value::Object(map) => {
            let mut entries = map.iter();
            let (Some((name, value)), None) = (entries.next(), entries.next()) else {
                return fault(place, "an operator is an object with one key");
            };
            let place = format!("{place}.{name}");
            if !matches!(name.as_str(), "prefix" | "suffix" | "equals-ignore-case" | "wildcard") {
                return fault(&place, "there is no such operator");
            }
            let unwanted: Result<Vec<_>> = match value {
                Value::Array(list) if list.is_empty() => return fault(&place, "is an empty list"),
                Value::Array(list) => {
                    list.iter().map(|value| Ok(Unwanted::Test(test(&place, name, value, false)?))).collect()
                }
                value => test(&place, name, value, false).map(|test| vec![Unwanted::Test(test)]),
            };
            Ok(Matcher::Not(unwanted?))
        }
        value => Ok(Matcher::Not(vec![plain(place, value)?])),
    }
}

impl Tree {
    fn new(fields: Way) -> Self {
        let mut tree = Self::default();
        for (path, leaf) in fields {
            let mut at = &mut tree;
            for name in path.split('.') {
                at = at.children.entry(name.to_owned()).or_default();
            }
            at.leaf = Some(leaf);
        }
        tree
    }

    /// `depth` names lead to the value; the last list on the way was below `list` of them.
    fn matches(&self, value: Option<&Value>, depth: usize, list: usize) -> bool {
        let leaf = match &self.leaf {
            None => true,
            Some(Leaf::Missing { .. }) => value.is_none_or(|value| !has_scalars(value)),
            Some(Leaf::Value(matchers)) => value.is_some_and(|value| one_holds(matchers, value)),
        };
        leaf && (self.children.is_empty() || self.children_match(value, depth, list))
    }

    /// All fields of one object; of a list, those of one of its objects.
    fn children_match(&self, value: Option<&Value>, depth: usize, list: usize) -> bool {
        match value {
            Some(Value::Object(map)) => {
                self.children.iter().all(|(name, child)| child.matches(map.get(name), depth + 1, list))
            }
            Some(Value::Array(all)) if all.iter().any(|one| one.is_object() || one.is_array()) => {
                all.iter().all(|one| self.is_missing(one, list..depth))
                    && all.iter().any(|one| {
                        (one.is_object() || one.is_array()) && self.children_match(Some(one), depth, depth)
                    })
            }
            // Nothing is below: only what must not exist can be content.
            _ => self.children.values().all(|child| child.matches(None, depth + 1, list)),
        }
    }

    /// Whether the value has nothing below it of what must be missing and is settled no further than this.
    fn is_missing(&self, value: &Value, settled: Range<usize>) -> bool {
        match value {
            Value::Array(all) => all.iter().all(|one| self.is_missing(one, settled.clone())),
            Value::Object(map) => self.children.iter().all(|(name, child)| {
                let Some(value) = map.get(name) else { return true };
                let here = match &child.leaf {
                    Some(Leaf::Missing { settled: so_far }) if settled.contains(so_far) => {
                        !has_scalars(value)
                    }
                    _ => true,
                };
                here && child.is_missing(value, settled.clone())
            }),
            _ => true,
        }
    }
}

/// Any value that stands at a path will do.
fn one_holds(matchers: &[Matcher], value: &Value) -> bool {
    let mut values = Vec::new();
    scalars(value, &mut values);
    values.iter().any(|value| matchers.iter().any(|matcher| matcher.matches(value)))
}

fn has_scalars(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.iter().any(has_scalars),
        Value::Object(_) => false,
        _ => true,
    }
}

/// The plain values of a value: lists are looked into, objects are not.
fn scalars<'v>(value: &'v Value, found: &mut Vec<&'v Value>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| scalars(value, found)),
        Value::Object(_) => {}
        value => found.push(value),
    }
}

impl Matcher {
    fn matches(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Exists(wanted), _) => *wanted,
            (Self::Text(wanted), Value::String(text)) => wanted == text,
            (Self::Number(wanted), Value::Number(number)) => same(*wanted, float(number)),
            (Self::Bool(wanted), Value::Bool(value)) => wanted == value,
            (Self::Null, Value::Null) => true,
            (Self::Numeric(bounds), Value::Number(number)) => {
                let number = float(number);
                bounds.iter().all(|(comparison, bound)| comparison.holds(number, *bound))
            }
            (Self::Cidr(block, bits), Value::String(text)) => {
                text.parse().is_ok_and(|address| within(address, *block, *bits))
            }
            (Self::Is(test), Value::String(text)) => test.holds(text),
            (Self::Not(unwanted), value) => !unwanted.iter().any(|unwanted| match (unwanted, value) {
                (Unwanted::Text(unwanted), Value::String(text)) => unwanted == text,
                (Unwanted::Number(unwanted), Value::Number(number)) => same(*unwanted, float(number)),
                (Unwanted::Test(test), Value::String(text)) => test.holds(text),
                _ => false,
            }),
            _ => false,
        }
    }
}

impl Comparison {
    fn holds(self, number: f64, bound: f64) -> bool {
        match self {
            Self::Less => number < bound,
            Self::AtMost => number <= bound,
            Self::Equal => same(number, bound),
            Self::AtLeast => number >= bound,
            Self::More => number > bound,
        }
    }
}

impl Test {
    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Self::PrefixAnyCase(prefix) => text.to_lowercase().starts_with(prefix.as_str()),
            Self::SuffixAnyCase(suffix) => text.to_lowercase().ends_with(suffix.as_str()),
            Self::AnyCase(wanted) => text.to_lowercase() == *wanted,
            Self::Wildcard(pieces) => wildcard_holds(pieces, text),
        }
    }
}

/// The first text is at the beginning, the last at the end, those between wherever they first occur: the
/// earliest place leaves the most for the rest, so there is nothing to go back to.
fn wildcard_holds(pieces: &[Piece], text: &str) -> bool {
    let mut rest = text;
    let mut anchored = true;
    for (number, piece) in pieces.iter().enumerate() {
        let last = number + 1 == pieces.len();
        match piece {
            Piece::Any => {
                anchored = false;
                if last {
                    return true;
                }
            }
            Piece::Text(wanted) if anchored => match rest.strip_prefix(wanted.as_str()) {
                Some(after) => rest = after,
                None => return false,
            },
            Piece::Text(wanted) if last => return rest.ends_with(wanted.as_str()),
            Piece::Text(wanted) => match rest.find(wanted.as_str()) {
                Some(at) => {
                    rest = rest.get(at + wanted.len()..).unwrap_or_default();
                    anchored = true;
                }
                None => return false,
            },
        }
    }
    rest.is_empty()
}

fn within(address: IpAddr, block: IpAddr, bits: u8) -> bool {
    let (address, block, width) = match (address, block) {
        (IpAddr::V4(address), IpAddr::V4(block)) => {
            (u128::from(address.to_bits()), u128::from(block.to_bits()), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(block)) => (address.to_bits(), block.to_bits(), 128),
        _ => return false,
    };
    let shift = u32::from(width - bits);
    address.checked_shr(shift).unwrap_or(0) == block.checked_shr(shift).unwrap_or(0)
}

/// `EventBridge` compares IEEE doubles.
fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or(f64::NAN)
}

#[allow(clippy::float_cmp, reason = "equal is what EventBridge means by equal")]
fn same(a: f64, b: f64) -> bool {
    a == b
}

fn has_dots(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(name, value)| name.contains('.') || has_dots(value)),
        Value::Array(list) => list.iter().any(has_dots),
        _ => false,
    }
}

/// With `{"a.b": 1}` written as `{"a": {"b": 1}}`, as deep as patterns go: no pattern names what is below, and names
/// with thousands of dots are nobody's but an attacker's.
fn nested(value: &Value, depth: usize) -> Value {
    match value {
        Value::Object(map) => {
            let mut whole = Map::new();
            for (name, value) in map {
                let below = depth + 1 + name.matches('.').count();
                if below > DEEPEST {
                    whole.insert(name.clone(), nested(value, depth + 1));
                } else {
                    put(&mut whole, name, nested(value, below));
                }
            }
            Value::Object(whole)
        }
        Value::Array(list) => list.iter().map(|value| nested(value, depth)).collect(),
        plain => plain.clone(),
    }
}

/// Puts a value at a dotted path. Where something stands in the way, both are kept, as values of a list.
fn put(map: &mut Map<String, Value>, name: &str, value: Value) {
    let Some((first, rest)) = name.split_once('.') else {
        match map.remove(name) {
            Some(Value::Object(mut there)) if value.is_object() => {
                if let Value::Object(more) = value {
                    for (name, value) in more {
                        put(&mut there, &name, value);
                    }
                }
                map.insert(name.to_owned(), Value::Object(there));
            }
            Some(there) => {
                map.insert(name.to_owned(), Value::Array(vec![there, value]));
            }
            None => {
                map.insert(name.to_owned(), value);
            }
        }
        return;
    };
    let mut below = Map::new();
    put(&mut below, rest, value);
    put(map, first, Value::Object(below));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use serde_json::json;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        pattern: Value,
        event: Value,
        expect: String,
    }

    #[test]
    fn the_cases_come_out_as_at_aws() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../tests/patterns/cases.json")).unwrap();
        assert!(cases.len() >= 120, "{}", cases.len());
        let mut wrong = Vec::new();
        for case in cases {
            let found = match Pattern::compile(&case.pattern) {
                Ok(pattern) if pattern.matches(&case.event) => "match".to_owned(),
                Ok(_) => "no-match".to_owned(),
                Err(_) => "invalid".to_owned(),
            };
            if found != case.expect {
                wrong.push(format!("{}: {found}, not {}", case.name, case.expect));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn a_fault_has_its_place() {
        let fault = |pattern: Value| Pattern::compile(&pattern).unwrap_err().to_string();
        assert_eq!(
            fault(json!({ "Severity": { "Label": ["HIGH", { "numerik": [1] }] } })),
            "`Severity.Label[1].numerik`: there is no such operator"
        );
        assert_eq!(fault(json!({ "a": "b" })), "`a`: is neither an object nor a list of values");
        assert_eq!(fault(json!([])), "a pattern is an object");
        let mut deep = json!(["x"]);
        for _ in 0..120 {
            deep = json!({ "a": deep });
        }
        assert!(fault(deep).ends_with("is nested deeper than 100 levels"));
    }

    /// A name of a thousand dots is as deep as it says to nobody.
    #[test]
    fn dots_without_end_are_no_depth_without_end() {
        let pattern = Pattern::compile(&json!({ "a": { "b": ["x"] } })).unwrap();
        let dots = "d.".repeat(50_000);
        let deep = json!({ "a.b": "x", dots.clone(): { dots.clone(): 1 }, "c": { dots: [{ "e.f": 1 }] } });
        assert!(pattern.matches(&deep));
    }

    /// The greedy match agrees with one that tries everything.
    #[test]
    fn wildcards_agree_with_a_naive_matcher() {
        fn naive(pattern: &[char], text: &[char]) -> bool {
            match pattern.split_first() {
                None => text.is_empty(),
                Some(('*', rest)) => (0..=text.len()).any(|skip| naive(rest, &text[skip..])),
                Some((c, rest)) => text.split_first().is_some_and(|(t, text)| t == c && naive(rest, text)),
            }
        }
        let words = |letters: &[char], most: usize| {
            let mut all = vec![String::new()];
            let mut last = all.clone();
            for _ in 0..most {
                last = last
                    .iter()
                    .flat_map(|word| letters.iter().map(move |letter| format!("{word}{letter}")))
                    .collect();
                all.extend(last.clone());
            }
            all
        };
        let texts = words(&['a', 'b'], 5);
        let mut compared = 0;
        for source in words(&['a', 'b', '*'], 5).iter().filter(|source| !source.contains("**")) {
            let pattern = Pattern::compile(&json!({ "x": [{ "wildcard": source }] })).unwrap();
            let letters: Vec<char> = source.chars().collect();
            for text in &texts {
                let expected = naive(&letters, &text.chars().collect::<Vec<_>>());
                assert_eq!(pattern.matches(&json!({ "x": text })), expected, "{source} {text}");
                compared += 1;
            }
        }
        assert!(compared > 10_000, "{compared}");
    }

    #[test]
    fn a_hostile_event_takes_no_time() {
        let pattern =
            json!({ "a": { "b": [{ "wildcard": "*a*a*a*a*a*a*a*b" }], "c": [{ "exists": false }] } });
        let pattern = Pattern::compile(&pattern).unwrap();
        let long = "a".repeat(100_000);
        let many: Vec<Value> = (0..2_000).map(|_| json!({ "b": "aaaa", "c": 1 })).collect();
        assert!(!pattern.matches(&json!({ "a": { "b": long } })));
        assert!(!pattern.matches(&json!({ "a": many })));
        let pattern = Pattern::compile(&json!({ "a": { "b": [{ "exists": false }], "c": ["x"] } })).unwrap();
        let none: Vec<Value> = (0..50_000).map(|_| json!({ "c": "y" })).collect();
        assert!(!pattern.matches(&json!({ "a": none })));
        let nested = (0..100).fold(json!(none), |value, _| json!([{}, value]));
        assert!(!pattern.matches(&json!({ "a": nested })));
    }

    #[test]
    fn combinations_are_bounded() {
        let or = || json!([{ "x": ["1"] }, { "y": ["2"] }, { "z": ["3"] }]);
        let mut map = Map::new();
        for number in 0..8 {
            map.insert(format!("f{number}"), json!({ "$or": or() }));
        }
        let error = Pattern::compile(&Value::Object(map)).unwrap_err();
        assert!(error.what.contains("more than 1000 combinations"), "{error}");

        let optional = |fields: usize| {
            let field = |number| (format!("f{number}"), json!([{ "exists": false }, "x"]));
            Pattern::compile(&Value::Object((0..fields).map(field).collect()))
        };
        assert!(optional(9).unwrap().matches(&json!({ "f3": "x" })));
        let error = optional(75).unwrap_err().to_string();
        assert_eq!(error, "fields that may be missing or have a value make more than 1000 combinations");
    }
}
