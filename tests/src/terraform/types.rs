//! Values, and the types of variables.

use hcl::{Expression, expr::ObjectKey};
use serde_json::{Map, Number, Value};

use crate::error::{Error, Result};

/// What a value is called in an error.
pub(super) fn called(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A number, whole where it can be.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "what is cast back is compared with what it came from"
)]
pub(super) fn number(value: f64) -> Value {
    let whole = value as i64;
    if (whole as f64 - value).abs() < f64::EPSILON {
        return whole.into();
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// As a text, as Terraform converts it.
pub(super) fn text(value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(bool) => Ok(bool.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(Error::new(format!("{} can't be a string", called(other)))),
    }
}

/// As a number, as Terraform converts it.
pub(super) fn float(value: &Value) -> Result<f64> {
    let found = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    found.ok_or_else(|| Error::new(format!("{} is no number", shown(value))))
}

/// As a condition, as Terraform converts it.
pub(super) fn bool(value: &Value) -> Result<bool> {
    match value {
        Value::Bool(bool) => Ok(*bool),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        other => Err(Error::new(format!("{} is neither true nor false", shown(other)))),
    }
}

/// Equal as Terraform sees it: numbers by value, members in any order.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => left == right,
    }
}

/// The members in the order of their names, in which Terraform always goes through them.
pub(super) fn members(object: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = object.iter().collect();
    members.sort_by_key(|(key, _)| *key);
    members
}

/// A set: sorted texts, each once.
pub(super) fn set(values: &[Value]) -> Value {
    let mut set: Vec<Value> = Vec::new();
    for value in values {
        if !set.iter().any(|known| equal(known, value)) {
            set.push(value.clone());
        }
    }
    set.sort_by_key(|value| text(value).unwrap_or_else(|_| value.to_string()));
    Value::Array(set)
}

/// The value, cut where it is long.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// Converts a value to a type constraint, with the defaults of optional attributes. A null stays one.
pub(super) fn convert(value: &Value, to: &Expression) -> Result<Value> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let wrong = || Error::new(format!("{} is not of type {to}", shown(value)));
    match to {
        Expression::Variable(primitive) => match primitive.as_str() {
            "string" => text(value).map(Value::String),
            "number" => float(value).map(number),
            "bool" => bool(value).map(Value::Bool),
            "any" => Ok(value.clone()),
            other => Err(Error::new(format!("there is no type `{other}`"))),
        },
        Expression::FuncCall(call) => {
            let argument = call.args.first().ok_or_else(wrong)?;
            match (call.name.name.as_str(), value) {
                ("list", Value::Array(items)) => {
                    items.iter().map(|item| convert(item, argument)).collect::<Result<_>>().map(Value::Array)
                }
                ("set", Value::Array(items)) => {
                    let items: Vec<Value> =
                        items.iter().map(|item| convert(item, argument)).collect::<Result<_>>()?;
                    Ok(set(&items))
                }
                ("map", Value::Object(members)) => members
                    .iter()
                    .map(|(key, member)| Ok((key.clone(), convert(member, argument)?)))
                    .collect::<Result<Map<_, _>>>()
                    .map(Value::Object),
                ("object", Value::Object(members)) => object(members, argument),
                _ => Err(wrong()),
            }
        }
        _ => Err(wrong()),
    }
}

/// Members without a place in the type are dropped, as Terraform drops them.
fn object(members: &Map<String, Value>, to: &Expression) -> Result<Value> {
    let Expression::Object(attributes) = to else {
        return Err(Error::new(format!("`object({to})` is no type")));
    };
    let mut object = Map::new();
    for (key, to) in attributes {
        let key = match key {
            ObjectKey::Identifier(key) => key.to_string(),
            other => other.to_string(),
        };
        let given = members.get(&key).filter(|value| !value.is_null());
        let value = match (to, given) {
            (Expression::FuncCall(call), given) if call.name.name.as_str() == "optional" => {
                let [to, default @ ..] = call.args.as_slice() else {
                    return Err(Error::new(format!("`{key}`: optional() without a type")));
                };
                match (given, default.first()) {
                    (Some(given), _) => convert(given, to)?,
                    (None, Some(default)) => convert(&literal(default)?, to)?,
                    (None, None) => Value::Null,
                }
            }
            (to, Some(given)) => convert(given, to)?,
            (_, None) => return Err(Error::new(format!("attribute `{key}` is required"))),
        };
        object.insert(key, value);
    }
    Ok(Value::Object(object))
}

/// A value that is written out.
fn literal(expression: &Expression) -> Result<Value> {
    match expression {
        Expression::Null => Ok(Value::Null),
        Expression::Bool(bool) => Ok((*bool).into()),
        Expression::String(text) => Ok(text.as_str().into()),
        Expression::Number(found) => Ok(found.as_f64().map_or(Value::Null, number)),
        Expression::Array(items) => items.iter().map(literal).collect::<Result<_>>().map(Value::Array),
        Expression::Object(members) if members.is_empty() => Ok(Value::Object(Map::new())),
        Expression::Parenthesis(inner) => literal(inner),
        other => Err(Error::new(format!("`{other}` is no value that is written out"))),
    }
}
