//! Filters and order of findings.

use std::cmp::Ordering;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::fields::{self, Kind};
use super::json::{leaves, text};

/// The most attributes of one query, and the most values of one attribute
/// ([`GetFindings`](https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_GetFindings.html)).
const MAX_ATTRIBUTES: usize = 10;
const MAX_VALUES: usize = 20;

/// A condition on a finding.
#[derive(Debug)]
pub(super) enum Filters {
    All(Vec<Filters>),
    Any(Vec<Filters>),
    Field(&'static str, Tests),
}

/// What one field is held against.
#[derive(Debug)]
pub(super) enum Tests {
    Text(Vec<TextTest>),
    Map(Vec<(String, TextTest)>),
    Number(Vec<NumberTest>),
    Date(Vec<DateTest>),
    Boolean(Vec<bool>),
    Ip(Vec<(IpAddr, u8)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equals,
    Prefix,
    Contains,
    ContainsWord,
}

/// A comparison, whether it is negated, and the value.
#[derive(Debug)]
pub(super) struct TextTest {
    comparison: Comparison,
    not: bool,
    value: String,
}

#[derive(Debug, Default)]
pub(super) struct NumberTest {
    least: Option<f64>,
    most: Option<f64>,
    above: Option<f64>,
    below: Option<f64>,
    equal: Option<f64>,
}

#[derive(Debug)]
pub(super) enum DateTest {
    Between(Option<Timestamp>, Option<Timestamp>),
    Within(SignedDuration),
    OlderThan(SignedDuration),
}

/// Which comparisons are allowed, apart from the usual four.
#[derive(Clone, Copy)]
struct Allowed {
    contains: bool,
    contains_word: bool,
}

impl Filters {
    /// Reads the filters of `GetFindings`.
    pub(super) fn asff(filters: Option<&Value>, contains: bool) -> Result<Self, String> {
        let allowed = Allowed { contains, contains_word: false };
        let attributes = match filters {
            None | Some(Value::Null) => return Ok(Self::All(Vec::new())),
            Some(Value::Object(attributes)) => attributes,
            Some(_) => return Err("Invalid parameter 'Filters'. data should be object".to_owned()),
        };
        if attributes.len() > MAX_ATTRIBUTES {
            return Err(format!(
                "Invalid parameter 'Filters'. data should NOT have more than {MAX_ATTRIBUTES} properties"
            ));
        }
        let read = |(name, values): (&String, &Value)| {
            let (_, kind, path) = fields::ASFF
                .iter()
                .find(|(known, _, _)| known == name)
                .ok_or_else(|| format!("Invalid parameter 'Filters'. data has unknown property '{name}'"))?;
            let explain = |error: String| format!("Invalid parameter 'Filters'. data.{name} {error}");
            let values = values.as_array().ok_or_else(|| explain("should be array".to_owned()))?;
            if values.len() > MAX_VALUES {
                return Err(explain(format!("should NOT have more than {MAX_VALUES} items")));
            }
            let values: Vec<&Value> = values.iter().collect();
            Ok(Self::Field(path, Tests::read(*kind, &values, allowed).map_err(explain)?))
        };
        Ok(Self::All(attributes.iter().map(read).collect::<Result<_, String>>()?))
    }

    /// Reads the filters of `GetFindingsV2`.
    pub(super) fn ocsf(filters: Option<&Value>, contains: bool) -> Result<Self, String> {
        let allowed = Allowed { contains, contains_word: true };
        let Some(filters) = filters.filter(|filters| !filters.is_null()) else {
            return Ok(Self::All(Vec::new()));
        };
        let composite = composites(filters, "CompositeFilters", allowed, 0)?;
        joined(filters, "CompositeOperator", composite)
    }

    /// Whether a finding satisfies the condition.
    pub(super) fn matches(&self, finding: &Value, now: Timestamp) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.matches(finding, now)),
            Self::Any(any) => any.iter().any(|one| one.matches(finding, now)),
            Self::Field(path, tests) => tests.matches(finding, path, now),
        }
    }
}

/// The members of a list of composite filters.
fn composites(parent: &Value, member: &str, allowed: Allowed, depth: usize) -> Result<Vec<Filters>, String> {
    let list = match parent.get(member) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(format!("{member} should be array")),
    };
    // Composite filters, their filters, and one level of composite filters in these.
    if depth > 1 && !list.is_empty() {
        return Err(format!("{member} are nested too deep"));
    }
    list.iter().map(|one| composite(one, allowed, depth)).collect()
}

fn composite(one: &Value, allowed: Allowed, depth: usize) -> Result<Filters, String> {
    const LISTS: [(&str, Kind); 6] = [
        ("StringFilters", Kind::Text),
        ("DateFilters", Kind::Date),
        ("BooleanFilters", Kind::Boolean),
        ("NumberFilters", Kind::Number),
        ("MapFilters", Kind::Map),
        ("IpFilters", Kind::Ip),
    ];
    let mut conditions = Vec::new();
    for (list, kind) in LISTS {
        for filter in one.get(list).and_then(Value::as_array).into_iter().flatten() {
            let name = text(filter, "FieldName");
            let (path, _) = fields::OCSF
                .iter()
                .find(|(known, of)| *known == name && *of == kind)
                .ok_or_else(|| format!("{list} have no field `{name}`"))?;
            let test = filter.get("Filter").ok_or_else(|| format!("{list} need a Filter"))?;
            let tests = Tests::read(kind, &[test], allowed).map_err(|error| format!("{name} {error}"))?;
            conditions.push(Filters::Field(path, tests));
        }
    }
    conditions.extend(composites(one, "NestedCompositeFilters", allowed, depth + 1)?);
    joined(one, "Operator", conditions)
}

fn joined(parent: &Value, operator: &str, conditions: Vec<Filters>) -> Result<Filters, String> {
    match parent.get(operator) {
        None | Some(Value::Null) => Ok(Filters::All(conditions)),
        Some(Value::String(and)) if and == "AND" => Ok(Filters::All(conditions)),
        Some(Value::String(or)) if or == "OR" && !conditions.is_empty() => Ok(Filters::Any(conditions)),
        Some(Value::String(or)) if or == "OR" => Ok(Filters::All(conditions)),
        Some(_) => Err(format!("{operator} should be AND or OR")),
    }
}

impl Tests {
    fn read(kind: Kind, values: &[&Value], allowed: Allowed) -> Result<Self, String> {
        Ok(match kind {
            Kind::Text => {
                let tests = collect(values, |value| TextTest::read(value, allowed))?;
                compatible(&tests.iter().collect::<Vec<_>>())?;
                Self::Text(tests)
            }
            Kind::Map => {
                let tests = collect(values, |value| {
                    let key = nonempty(value, "Key")?.to_owned();
                    let test = TextTest::read(value, allowed)?;
                    if test.comparison == Comparison::Prefix || test.comparison == Comparison::ContainsWord {
                        return Err("Comparison should be equal to one of the allowed values".to_owned());
                    }
                    Ok((key, test))
                })?;
                compatible(&tests.iter().map(|(_, test)| test).collect::<Vec<_>>())?;
                Self::Map(tests)
            }
            Kind::Number => Self::Number(collect(values, NumberTest::read)?),
            Kind::Date => Self::Date(collect(values, DateTest::read)?),
            Kind::Boolean => Self::Boolean(collect(values, |value| {
                value
                    .get("Value")
                    .and_then(Value::as_bool)
                    .ok_or_else(|| "Value should be boolean".to_owned())
            })?),
            Kind::Ip => Self::Ip(collect(values, |value| cidr(nonempty(value, "Cidr")?))?),
        })
    }

    fn matches(&self, finding: &Value, path: &str, now: Timestamp) -> bool {
        let values = leaves(finding, path);
        match self {
            Self::Text(tests) => {
                let found: Vec<&str> = values.into_iter().filter_map(Value::as_str).collect();
                let holds = |test: &TextTest| found.iter().any(|text| test.compares(text));
                joins(tests.iter().map(|test| (test.not, holds(test))))
            }
            Self::Map(tests) => {
                let holds = |key: &str, test: &TextTest| {
                    values.iter().any(|map| entries(map, key).iter().any(|value| test.compares(value)))
                };
                joins(tests.iter().map(|(key, test)| (test.not, holds(key, test))))
            }
            Self::Number(tests) => any(tests, &values, |test, value| {
                // The number of a severity is a text in some of AWS's own samples.
                value.as_f64().or_else(|| value.as_str()?.parse().ok()).is_some_and(|n| test.holds(n))
            }),
            Self::Date(tests) => any(tests, &values, |test, value| {
                value.as_str().and_then(|at| at.parse().ok()).is_some_and(|at| test.holds(at, now))
            }),
            Self::Boolean(tests) => any(tests, &values, |test, value| value.as_bool() == Some(*test)),
            Self::Ip(tests) => any(tests, &values, |(net, bits), value| {
                let address = value.as_str().and_then(|address| address.parse().ok());
                address.is_some_and(|address| within(address, *net, *bits))
            }),
        }
    }
}

fn collect<T>(values: &[&Value], read: impl Fn(&Value) -> Result<T, String>) -> Result<Vec<T>, String> {
    values.iter().map(|value| read(value)).collect()
}

fn any<T>(tests: &[T], values: &[&Value], holds: impl Fn(&T, &Value) -> bool) -> bool {
    tests.is_empty() || tests.iter().any(|test| values.iter().any(|value| holds(test, value)))
}

/// Joins the tests of one field, each given as (negated, whether a value satisfies the comparison): any of
/// those that ask for a value, and all of those that exclude one
/// ([`StringFilter`](https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_StringFilter.html)).
fn joins(tests: impl Iterator<Item = (bool, bool)> + Clone) -> bool {
    let excluded = tests.clone().any(|(not, holds)| not && holds);
    let mut asked = tests.filter(|(not, _)| !not).peekable();
    !excluded && (asked.peek().is_none() || asked.any(|(_, holds)| holds))
}

/// Refuses comparisons that may not stand together on one field.
fn compatible(tests: &[&TextTest]) -> Result<(), String> {
    let has = |comparison, not| tests.iter().any(|test| test.comparison == comparison && test.not == not);
    let contains =
        |not| tests.iter().filter(|t| t.comparison == Comparison::Contains && t.not == not).count();
    let mixed = (contains(false) > 0 && contains(false) < tests.len())
        || (contains(true) > 0 && contains(true) < tests.len())
        || (has(Comparison::Equals, false)
            && (has(Comparison::Equals, true) || has(Comparison::Prefix, true)));
    if mixed { Err("has comparisons that cannot be combined".to_owned()) } else { Ok(()) }
}

impl TextTest {
    fn read(value: &Value, allowed: Allowed) -> Result<Self, String> {
        let (comparison, not) = match text(value, "Comparison") {
            "EQUALS" => (Comparison::Equals, false),
            "NOT_EQUALS" => (Comparison::Equals, true),
            "PREFIX" => (Comparison::Prefix, false),
            "PREFIX_NOT_EQUALS" => (Comparison::Prefix, true),
            "CONTAINS" if allowed.contains => (Comparison::Contains, false),
            "NOT_CONTAINS" if allowed.contains => (Comparison::Contains, true),
            "CONTAINS" | "NOT_CONTAINS" => {
                return Err("Comparison can be CONTAINS or NOT_CONTAINS in automation rules only".to_owned());
            }
            "CONTAINS_WORD" if allowed.contains_word => (Comparison::ContainsWord, false),
            _ => return Err("Comparison should be equal to one of the allowed values".to_owned()),
        };
        Ok(Self { comparison, not, value: nonempty(value, "Value")?.to_owned() })
    }

    /// Whether a text satisfies the comparison, before it is negated.
    fn compares(&self, text: &str) -> bool {
        let wanted = self.value.as_str();
        match self.comparison {
            Comparison::Equals => text == wanted,
            Comparison::Prefix => text.starts_with(wanted),
            Comparison::Contains => text.contains(wanted),
            Comparison::ContainsWord => text
                .split(|c: char| !c.is_alphanumeric())
                .any(|word| word.to_lowercase() == wanted.to_lowercase()),
        }
    }
}

impl NumberTest {
    fn read(value: &Value) -> Result<Self, String> {
        let bound = |name| value.get(name).and_then(Value::as_f64);
        let test = Self {
            least: bound("Gte"),
            most: bound("Lte"),
            above: bound("Gt"),
            below: bound("Lt"),
            equal: bound("Eq"),
        };
        let none = [test.least, test.most, test.above, test.below, test.equal].iter().all(Option::is_none);
        if none { Err("should have Gte, Lte, Gt, Lt or Eq".to_owned()) } else { Ok(test) }
    }

    fn holds(&self, n: f64) -> bool {
        self.least.is_none_or(|least| n >= least)
            && self.most.is_none_or(|most| n <= most)
            && self.above.is_none_or(|above| n > above)
            && self.below.is_none_or(|below| n < below)
            && self.equal.is_none_or(|equal| (n - equal).abs() < f64::EPSILON)
    }
}

impl DateTest {
    fn read(value: &Value) -> Result<Self, String> {
        let bound = |name: &str| match value.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(at) => at
                .as_str()
                .and_then(|at| at.parse().ok())
                .map(Some)
                .ok_or_else(|| format!("{name} should match format \"date-time\"")),
        };
        let (start, end) = (bound("Start")?, bound("End")?);
        match value.get("DateRange").filter(|range| !range.is_null()) {
            None if start.is_none() && end.is_none() => Err("should have Start, End or DateRange".to_owned()),
            None => Ok(Self::Between(start, end)),
            Some(_) if start.is_some() || end.is_some() => {
                Err("should have either DateRange or Start and End".to_owned())
            }
            Some(range) => {
                let days =
                    range.get("Value").and_then(Value::as_i64).filter(|days| (0..=36_500).contains(days));
                let span = SignedDuration::from_hours(
                    24 * days.ok_or("DateRange.Value should be a number of days")?,
                );
                if text(range, "Unit") != "DAYS" {
                    return Err("DateRange.Unit should be DAYS".to_owned());
                }
                match range.get("Comparison").map(Value::as_str) {
                    None | Some(Some("WITHIN")) => Ok(Self::Within(span)),
                    Some(Some("OLDER_THAN")) => Ok(Self::OlderThan(span)),
                    Some(_) => Err("DateRange.Comparison should be WITHIN or OLDER_THAN".to_owned()),
                }
            }
        }
    }

    fn holds(&self, at: Timestamp, now: Timestamp) -> bool {
        match self {
            Self::Between(start, end) => {
                start.is_none_or(|start| at >= start) && end.is_none_or(|end| at <= end)
            }
            Self::Within(span) => at <= now && now.duration_since(at) <= *span,
            Self::OlderThan(span) => now.duration_since(at) > *span,
        }
    }
}

fn nonempty<'a>(value: &'a Value, name: &str) -> Result<&'a str, String> {
    let found = text(value, name);
    if found.trim().is_empty() { Err(format!("should have required property '{name}'")) } else { Ok(found) }
}

/// The values of a key: of an object (ASFF), or of a list of names and values (OCSF tags).
fn entries<'a>(map: &'a Value, key: &str) -> Vec<&'a str> {
    let named = text(map, "name") == key;
    let value = if named { map.get("value").or_else(|| map.get("values")) } else { map.get(key) };
    match value {
        Some(Value::String(value)) => vec![value],
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn cidr(text: &str) -> Result<(IpAddr, u8), String> {
    let wrong = || format!("Cidr `{text}` should be an address and a prefix length");
    let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let bits = bits.parse().ok().filter(|bits| *bits <= if address.is_ipv4() { 32 } else { 128 });
    Ok((address, bits.ok_or_else(wrong)?))
}

fn within(address: IpAddr, net: IpAddr, bits: u8) -> bool {
    let (address, net, width) = match (address, net) {
        (IpAddr::V4(address), IpAddr::V4(net)) => (address.to_bits().into(), net.to_bits().into(), 32),
        (IpAddr::V6(address), IpAddr::V6(net)) => (address.to_bits(), net.to_bits(), 128),
        _ => return false,
    };
    (address ^ net).checked_shr(width - u32::from(bits)).unwrap_or(0) == 0
}

/// Path, and whether the order is descending.
pub(super) type Order = Vec<(String, bool)>;

/// Reads the sort criteria of `GetFindings`, whose fields are filter attributes.
pub(super) fn asff_order(criteria: Option<&Value>) -> Result<Order, String> {
    order(criteria, |field| fields::ASFF.iter().find(|(name, _, _)| *name == field).map(|(_, _, path)| *path))
}

/// Reads the sort criteria of `GetFindingsV2`, whose fields are paths.
pub(super) fn ocsf_order(criteria: Option<&Value>) -> Result<Order, String> {
    order(criteria, |field| fields::OCSF.iter().find(|(name, _)| *name == field).map(|(name, _)| *name))
}

fn order(criteria: Option<&Value>, path_of: impl Fn(&str) -> Option<&'static str>) -> Result<Order, String> {
    let criteria = match criteria {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(criteria)) => criteria,
        Some(_) => return Err("Invalid parameter 'SortCriteria'. data should be array".to_owned()),
    };
    let read = |criterion: &Value| {
        let field = text(criterion, "Field");
        let path = path_of(field)
            .ok_or_else(|| format!("Invalid parameter 'SortCriteria'. `{field}` is no field to sort by"))?;
        match criterion.get("SortOrder").and_then(Value::as_str) {
            None | Some("asc") => Ok((path.to_owned(), false)),
            Some("desc") => Ok((path.to_owned(), true)),
            Some(_) => Err("Invalid parameter 'SortCriteria'. SortOrder should be asc or desc".to_owned()),
        }
    };
    criteria.iter().map(read).collect()
}

/// Sorts findings; those that lack a field come last, whatever the order, and equal ones stay as they are.
pub(super) fn sort(findings: &mut [&Value], order: &Order) {
    findings.sort_by(|a, b| {
        order.iter().fold(Ordering::Equal, |so_far, (path, descending)| {
            so_far.then_with(|| match (leaves(a, path).first(), leaves(b, path).first()) {
                (Some(a), Some(b)) if *descending => compare(b, a),
                (Some(a), Some(b)) => compare(a, b),
                (a, b) => b.is_some().cmp(&a.is_some()),
            })
        })
    });
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a.as_f64(), b.as_f64(), a.as_str(), b.as_str()) {
        (Some(a), Some(b), _, _) => a.total_cmp(&b),
        (_, _, Some(a), Some(b)) => match (a.parse::<Timestamp>(), b.parse::<Timestamp>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => a.cmp(b),
        },
        _ => Ordering::Equal,
    }
}
