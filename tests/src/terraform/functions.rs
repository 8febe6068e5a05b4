//! Terraform's functions, those that `terraform/` calls.

use std::{fs, io::Write as _, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use regex_lite::Regex;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    Object, Resource,
    types::{bool, called, equal, float, members, number, set, shown, text},
};
use crate::error::{Context, Error, Result};

/// Calls a function. `try`, `can` and `templatefile` look at what is not evaluated yet, and are none of these.
pub(super) fn call(function: &str, arguments: &[Value]) -> Result<Value> {
    let given = Given(arguments);
    match function {
        "format" => format(&given.text(0)?, arguments.get(1..).unwrap_or_default()).map(Value::String),
        "join" => given.texts(1).map(|texts| texts.join(given.text(0).unwrap_or_default().as_str()).into()),
        "split" => {
            let (by, text) = (given.text(0)?, given.text(1)?);
            Ok(text.split(by.as_str()).map(Value::from).collect())
        }
        "replace" => replace(&given.text(0)?, &given.text(1)?, &given.text(2)?).map(Value::String),
        "lower" => Ok(given.text(0)?.to_lowercase().into()),
        "upper" => Ok(given.text(0)?.to_uppercase().into()),
        "trimspace" => Ok(given.text(0)?.trim().into()),
        "trimprefix" => given.both(|text, cut| text.strip_prefix(cut).unwrap_or(text).into()),
        "trimsuffix" => given.both(|text, cut| text.strip_suffix(cut).unwrap_or(text).into()),
        "startswith" => given.both(|text, start| text.starts_with(start).into()),
        "endswith" => given.both(|text, end| text.ends_with(end).into()),
        "strcontains" => given.both(|text, part| text.contains(part).into()),
        "substr" => substr(&given.text(0)?, given.whole(1)?, given.whole(2)?).map(Value::String),
        "regex" => matched(&given.text(0)?, &given.text(1)?),
        "max" => {
            given.numbers()?.into_iter().reduce(f64::max).map(number).context(|| "of nothing".to_owned())
        }
        "min" => {
            given.numbers()?.into_iter().reduce(f64::min).map(number).context(|| "of nothing".to_owned())
        }
        "floor" => Ok(number(float(given.at(0)?)?.floor())),
        "ceil" => Ok(number(float(given.at(0)?)?.ceil())),
        _ => of_collections(function, &given),
    }
}

fn of_collections(function: &str, given: &Given<'_>) -> Result<Value> {
    let arguments = given.0;
    match function {
        "length" => match given.at(0)? {
            Value::String(text) => Ok(text.chars().count().into()),
            Value::Array(items) => Ok(items.len().into()),
            Value::Object(object) => Ok(object.len().into()),
            other => Err(Error::new(format!("of {}", called(other)))),
        },
        "concat" => {
            let mut all = Vec::new();
            for index in 0..arguments.len() {
                all.extend_from_slice(given.list(index)?);
            }
            Ok(Value::Array(all))
        }
        "flatten" => Ok(Value::Array(flattened(given.list(0)?))),
        "distinct" => {
            let mut seen: Vec<Value> = Vec::new();
            for item in given.list(0)? {
                if !seen.iter().any(|known| equal(known, item)) {
                    seen.push(item.clone());
                }
            }
            Ok(Value::Array(seen))
        }
        "sort" => {
            let mut texts = given.texts(0)?;
            texts.sort();
            Ok(texts.into_iter().map(Value::from).collect())
        }
        "chunklist" => {
            let size = usize::try_from(given.whole(1)?).ok().filter(|size| *size > 0);
            let size = size.context(|| "chunks of nothing".to_owned())?;
            Ok(given.list(0)?.chunks(size).map(|chunk| Value::Array(chunk.to_vec())).collect())
        }
        "setproduct" => {
            let mut product = vec![Vec::new()];
            for index in 0..arguments.len() {
                let items = given.list(index)?;
                product = product
                    .into_iter()
                    .flat_map(|head| {
                        items.iter().map(move |item| [head.as_slice(), std::slice::from_ref(item)].concat())
                    })
                    .collect();
            }
            Ok(product.into_iter().map(Value::Array).collect())
        }
        "setintersection" => {
            let (left, right) = (given.list(0)?, given.list(1)?);
            let both: Vec<Value> =
                left.iter().filter(|item| right.iter().any(|other| equal(item, other))).cloned().collect();
            Ok(set(&both))
        }
        "contains" => {
            Ok(given.list(0)?.iter().any(|item| equal(item, given.at(1).unwrap_or(&Value::Null))).into())
        }
        "keys" => {
            Ok(members(given.object(0)?).into_iter().map(|(key, _)| Value::from(key.as_str())).collect())
        }
        "values" => Ok(members(given.object(0)?).into_iter().map(|(_, value)| value.clone()).collect()),
        "merge" => {
            let mut merged = Map::new();
            for index in 0..arguments.len() {
                if !given.at(index)?.is_null() {
                    merged.extend(given.object(index)?.clone());
                }
            }
            Ok(Value::Object(merged))
        }
        "one" => match given.list(0)? {
            [] => Ok(Value::Null),
            [only] => Ok(only.clone()),
            more => Err(Error::new(format!("of {} items", more.len()))),
        },
        "alltrue" => given.bools(0).map(|bools| bools.into_iter().all(|bool| bool).into()),
        "anytrue" => given.bools(0).map(|bools| bools.into_iter().any(|bool| bool).into()),
        "coalesce" => {
            let found = arguments.iter().find(|value| !value.is_null() && *value != &json!(""));
            found.cloned().context(|| "nothing that is not null".to_owned())
        }
        "toset" => Ok(set(given.list(0)?)),
        "tostring" => match given.at(0)? {
            Value::Null => Ok(Value::Null),
            value => text(value).map(Value::String),
        },
        _ => of_files(function, given),
    }
}

fn of_files(function: &str, given: &Given<'_>) -> Result<Value> {
    match function {
        "file" => read(&given.text(0)?).and_then(utf8).map(Value::String),
        "fileexists" => {
            let path = given.text(0)?;
            if Path::new(&path).is_dir() {
                return Err(Error::new(format!("`{path}` is a folder")));
            }
            Ok(Path::new(&path).exists().into())
        }
        "fileset" => fileset(&given.text(0)?, &given.text(1)?),
        "filesha256" => Ok(hex(&Sha256::digest(read(&given.text(0)?)?)).into()),
        "filebase64sha256" => Ok(STANDARD.encode(Sha256::digest(read(&given.text(0)?)?)).into()),
        "sha256" => Ok(hex(&Sha256::digest(given.text(0)?)).into()),
        "basename" => Ok(last(&given.text(0)?).1.into()),
        "dirname" => Ok(last(&given.text(0)?).0.into()),
        "jsonencode" => Ok(encoded(given.at(0)?).into()),
        "jsondecode" => serde_json::from_str(&given.text(0)?).context(|| "no JSON".to_owned()),
        // To Terraform's reader `off` is `false`, as in YAML 1.1.
        "yamldecode" => serde_saphyr::from_str(&given.text(0)?).context(|| "no YAML".to_owned()),
        other => Err(Error::new(format!("the function `{other}` is not known here"))),
    }
}

/// Arguments of a function.
struct Given<'a>(&'a [Value]);

impl<'a> Given<'a> {
    fn at(&self, index: usize) -> Result<&'a Value> {
        self.0.get(index).context(|| format!("argument {} is missing", index + 1))
    }

    fn text(&self, index: usize) -> Result<String> {
        text(self.at(index)?)
    }

    fn both(&self, apply: fn(&str, &str) -> Value) -> Result<Value> {
        Ok(apply(&self.text(0)?, &self.text(1)?))
    }

    fn whole(&self, index: usize) -> Result<i64> {
        let value = float(self.at(index)?)?;
        number(value).as_i64().context(|| format!("{value} is no whole number"))
    }

    fn numbers(&self) -> Result<Vec<f64>> {
        self.0.iter().map(float).collect()
    }

    fn list(&self, index: usize) -> Result<&'a [Value]> {
        match self.at(index)? {
            Value::Array(items) => Ok(items),
            other => Err(Error::new(format!("argument {} is {}", index + 1, called(other)))),
        }
    }

    fn texts(&self, index: usize) -> Result<Vec<String>> {
        self.list(index)?.iter().map(text).collect()
    }

    fn bools(&self, index: usize) -> Result<Vec<bool>> {
        self.list(index)?.iter().map(bool).collect()
    }

    fn object(&self, index: usize) -> Result<&'a Map<String, Value>> {
        match self.at(index)? {
            Value::Object(object) => Ok(object),
            other => Err(Error::new(format!("argument {} is {}", index + 1, called(other)))),
        }
    }
}

/// `%s`, `%d`, `%02d`, `%q` and `%%`.
fn format(pattern: &str, arguments: &[Value]) -> Result<String> {
    let mut arguments = arguments.iter();
    let mut made = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('%') {
        made.push_str(before);
        let end = after.find(|c: char| !c.is_ascii_digit()).context(|| format!("`{pattern}` ends in %"))?;
        let (width, verb) = after.split_at(end);
        rest = verb.get(1..).unwrap_or_default();
        if verb.starts_with('%') {
            made.push('%');
            continue;
        }
        let value = arguments.next().context(|| format!("`{pattern}` has more verbs than arguments"))?;
        let value = match verb.chars().next() {
            Some('s' | 'd') => text(value)?,
            Some('q') => encoded(value),
            _ => return Err(Error::new(format!("`%{verb}` is not known here"))),
        };
        let fill = if width.starts_with('0') { '0' } else { ' ' };
        let missing = width.parse::<usize>().unwrap_or(0).saturating_sub(value.chars().count());
        made.extend(std::iter::repeat_n(fill, missing));
        made.push_str(&value);
    }
    made.push_str(rest);
    if arguments.next().is_some() {
        return Err(Error::new(format!("`{pattern}` has fewer verbs than arguments")));
    }
    Ok(made)
}

fn regex(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).context(|| format!("`{pattern}`"))
}

/// Between slashes, what is replaced is a regular expression.
fn replace(text: &str, what: &str, by: &str) -> Result<String> {
    match what.strip_prefix('/').and_then(|what| what.strip_suffix('/')) {
        Some(pattern) => Ok(regex(pattern)?.replace_all(text, by).into_owned()),
        None => Ok(text.replace(what, by)),
    }
}

/// The match; its groups, where it has some.
fn matched(pattern: &str, text: &str) -> Result<Value> {
    let found = regex(pattern)?;
    let captures = found.captures(text).context(|| format!("`{pattern}` does not match `{text}`"))?;
    let group = |index: usize| captures.get(index).map_or(Value::Null, |group| group.as_str().into());
    Ok(match captures.len() {
        1 => group(0),
        groups => (1..groups).map(group).collect(),
    })
}

fn substr(text: &str, offset: i64, length: i64) -> Result<String> {
    let offset = usize::try_from(offset).context(|| "a negative offset is not supported".to_owned())?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok(text.chars().skip(offset).take(length).collect())
}

fn flattened(items: &[Value]) -> Vec<Value> {
    items
        .iter()
        .flat_map(|item| match item {
            Value::Array(inner) => flattened(inner),
            other => vec![other.clone()],
        })
        .collect()
}

fn read(path: &str) -> Result<Vec<u8>> {
    fs::read(path).context(|| format!("`{path}`"))
}

fn utf8(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).context(|| "no UTF-8".to_owned())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Folder and name of a path.
fn last(path: &str) -> (&str, &str) {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some((folder, name)) => (folder, name),
        None => (".", path),
    }
}

/// The files of a folder whose names fit a pattern of `*` and `{a,b}`.
fn fileset(folder: &str, pattern: &str) -> Result<Value> {
    let mut fits = String::from("^");
    for c in pattern.chars() {
        match c {
            '*' => fits.push_str("[^/]*"),
            '{' => fits.push_str("(?:"),
            '}' => fits.push(')'),
            ',' => fits.push('|'),
            other if other.is_ascii_alphanumeric() => fits.push(other),
            other => fits.extend(['\\', other]),
        }
    }
    fits.push('$');
    let fits = regex(&fits)?;
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Value::Array(Vec::new())) };
    let names: Vec<Value> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| file.is_file())
        .filter_map(|file| Some(file.file_name()?.to_str()?.to_owned()))
        .filter(|name| fits.is_match(name))
        .map(Value::from)
        .collect();
    Ok(set(&names))
}

/// As Terraform writes JSON: members by their names, and `<`, `>`, `&` escaped.
fn encoded(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Array(items) => items.iter().map(sorted).collect(),
            Value::Object(object) => Value::Object(
                members(object).into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect(),
            ),
            other => other.clone(),
        }
    }
    let mut text = sorted(value).to_string();
    for (character, escape) in [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ] {
        text = text.replace(character, escape);
    }
    text
}

/// `data "archive_file"` of type `zip`: writes the archive of its `source` blocks.
pub(super) fn archive(data: &Resource) -> Result<Object> {
    let fault = |what: String| Error::new(format!("{}: {what}", data.address));
    if data.text("type") != Some("zip") {
        return Err(fault("a type other than zip is not supported".to_owned()));
    }
    let path = data.text("output_path").ok_or_else(|| fault("no output_path".to_owned()))?;
    let sources =
        data.arguments.get("source").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut files = Vec::new();
    for source in sources {
        match (source["filename"].as_str(), source["content"].as_str()) {
            (Some(name), Some(content)) => files.push((name, content)),
            _ => return Err(fault(format!("{} is no source", shown(source)))),
        }
    }
    files.sort_unstable();
    let archive = packed(&files).context(|| data.address.clone())?;
    if let Some(folder) = Path::new(path).parent() {
        fs::create_dir_all(folder).context(|| format!("`{}`", folder.display()))?;
    }
    fs::File::create(path).and_then(|mut file| file.write_all(&archive)).context(|| format!("`{path}`"))?;
    let sum = Sha256::digest(&archive);
    let known =
        [("id", hex(&sum)), ("output_sha256", hex(&sum)), ("output_base64sha256", STANDARD.encode(sum))];
    Ok(known.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
}

fn packed(files: &[(&str, &str)]) -> zip::result::ZipResult<Vec<u8>> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        archive.start_file(*name, zip::write::SimpleFileOptions::default().unix_permissions(0o644))?;
        archive.write_all(content.as_bytes())?;
    }
    Ok(archive.finish()?.into_inner())
}
