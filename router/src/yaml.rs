//! YAML that people write: read strictly, every fault in one line with its place.

use std::{fmt, fs::File, io::Read as _, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{DuplicateKeyPolicy, Error, Location, MergeKeyPolicy, Options, Spanned};

use crate::{event::shown, rules::RulesError};

/// The largest file that is read, in bytes.
pub(crate) const LARGEST: usize = 4 << 20;

/// The text of a file.
pub(crate) fn text(path: &Path) -> Result<String, RulesError> {
    let fault = |what: String| RulesError { file: path.display().to_string(), what };
    let mut bytes = Vec::new();
    // One byte more than is taken, so that an endless file ends.
    let limit = u64::try_from(LARGEST).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| fault(error.to_string()))?;
    if bytes.len() > LARGEST {
        return Err(fault(too_large()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let bytes = error.as_bytes();
        let before = bytes.get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        fault(match bytes {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16 text, where UTF-8 is needed".to_owned(),
            _ => format!("line {line}: not UTF-8 text"),
        })
    })
}

fn too_large() -> String {
    format!("is larger than {LARGEST} bytes")
}

/// Reads YAML. `file` is its name in errors.
pub(crate) fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, RulesError> {
    let fault = |what: String| RulesError { file: file.to_owned(), what };
    if text.len() > LARGEST {
        return Err(fault(too_large()));
    }
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| fault(describe(&error)))
}

/// YAML 1.2 without its surprises: `no` is a word, an account id that begins with a zero stays a text, a
/// key stands once, and nothing is merged in from elsewhere.
fn options() -> Options {
    let budget = serde_saphyr::budget! { max_aliases: 1_000, max_anchors: 100 };
    serde_saphyr::options! {
        budget: budget,
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// The fault and its place, in one line.
fn describe(error: &Error) -> String {
    let error = error.without_snippet();
    let what = match error {
        Error::Eof { .. } => "empty, where something is needed".to_owned(),
        Error::MultipleDocuments { .. } => "a second YAML document; one a file is read".to_owned(),
        Error::MergeKeyNotAllowed { .. } => "merge keys (`<<`) are not read; write the fields out".to_owned(),
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("unknown field `{}`; {}", shown(field), suggest(field, expected.iter().copied()))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } if variant == "~" => {
            format!("empty; there are {}", expected.join(", "))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            format!("unknown word `{}`; {}", shown(variant), suggest(variant, expected.iter().copied()))
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("`{}` is there twice", shown(key)),
        Error::DuplicateMappingKey { key: None, .. } => "a key is there twice".to_owned(),
        Error::InvalidScalar { ty, .. } => match *ty {
            "u16" => "expected a whole number from 0 to 65535".to_owned(),
            "u8" | "u32" | "u64" | "usize" => "expected a whole number, 0 or more".to_owned(),
            other => format!("expected a value of type {other}"),
        },
        Error::Unexpected { expected: "mapping start", .. } => "expected fields with values".to_owned(),
        Error::Unexpected { expected: "sequence start", .. } => "expected a list".to_owned(),
        Error::Unexpected { expected: "string scalar", .. } => "expected a text".to_owned(),
        other => {
            let text = other.to_string();
            let text = text.lines().next().unwrap_or("can't be read");
            let place = other
                .location()
                .map(|at| format!(" at line {}, column {}", at.line(), at.column()))
                .unwrap_or_default();
            // It may quote what stands there.
            let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
            text.strip_suffix(&place).unwrap_or(text).chars().map(printable).collect()
        }
    };
    placed(error.location(), &what)
}

fn placed(at: Option<Location>, what: &str) -> String {
    match at {
        Some(at) if at.line() > 0 => format!("line {} column {}: {what}", at.line(), at.column()),
        _ => what.to_owned(),
    }
}

/// More words than these are no help to whoever has mistyped one.
const MOST_LISTED: usize = 20;

/// The known word that was probably meant, else all of them, where they are few.
pub fn suggest<'a>(given: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let nearest = known
        .clone()
        .map(|word| (strsim::osa_distance(given, word), word))
        .min()
        .filter(|(distance, word)| *distance <= word.len().max(given.len()) / 3);
    match nearest {
        Some((_, word)) => format!("did you mean `{word}`?"),
        None if known.clone().nth(MOST_LISTED).is_some() => {
            format!("none of the {} is like it", known.count())
        }
        None => format!("there are {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// A fault found after reading, with the place of what stands at `pointer` (a JSON pointer, or as much of
/// it as there is).
pub(crate) fn fault_at(file: &str, text: &str, pointer: &str, what: &str) -> RulesError {
    let tree: Option<Spanned<Tree>> = serde_saphyr::from_str_with_options(text, options()).ok();
    let at = tree.map(|tree| locate(&tree, pointer));
    RulesError { file: file.to_owned(), what: placed(at, what) }
}

/// A text that has no quotes and is no text to every reader of YAML, below one of these fields of a rule.
///
/// Terraform makes EventBridge's patterns of the same file, and
/// [its reader](https://developer.hashicorp.com/terraform/language/functions/yamldecode) takes `no` for
/// `false`, `012345678901` for a number, and dates for times: the pattern would be another, and nobody would
/// see that events stay away.
pub(crate) fn read_alike(file: &str, text: &str, fields: &[&str]) -> Result<(), RulesError> {
    let Ok(tree) = serde_saphyr::from_str_with_options::<Spanned<Tree>>(text, options()) else {
        return Ok(());
    };
    let Tree::Map(members) = &tree.value else { return Ok(()) };
    let rules =
        members.iter().filter(|(key, _)| key.value == "rules").filter_map(|(_, value)| match &value.value {
            Tree::List(rules) => Some(rules),
            _ => None,
        });
    for rule in rules.flatten() {
        let Tree::Map(members) = &rule.value else { continue };
        for (_, value) in members.iter().filter(|(key, _)| fields.contains(&key.value.as_str())) {
            if let Some((at, found)) = read_otherwise(value, text) {
                let what = format!("`{}` is no text to every reader of YAML; put it in quotes", shown(found));
                return Err(RulesError { file: file.to_owned(), what: placed(Some(at), &what) });
            }
        }
    }
    Ok(())
}

fn read_otherwise<'a>(tree: &'a Spanned<Tree>, text: &str) -> Option<(Location, &'a str)> {
    match &tree.value {
        Tree::Leaf => None,
        Tree::Text(found) => {
            let at = tree.defined;
            (otherwise(found) && unquoted(text, at)).then_some((at, found))
        }
        Tree::List(list) => list.iter().find_map(|item| read_otherwise(item, text)),
        Tree::Map(map) => map.iter().find_map(|(key, value)| {
            let odd = otherwise(&key.value) && unquoted(text, key.defined);
            if odd { Some((key.defined, key.value.as_str())) } else { read_otherwise(value, text) }
        }),
    }
}

/// Whether YAML 1.1 has a boolean, a number or a time for it.
fn otherwise(text: &str) -> bool {
    const BOOLEANS: [&str; 6] = ["y", "yes", "n", "no", "on", "off"];
    let number = || {
        let rest = text.trim_start_matches(['+', '-', '.']);
        rest.starts_with(|c: char| c.is_ascii_digit())
            && rest.chars().all(|c| c.is_ascii_hexdigit() || "+-.:_oxOXTtZz ".contains(c))
    };
    BOOLEANS.iter().any(|word| text.eq_ignore_ascii_case(word)) || number()
}

/// Whether what stands there has neither quotes nor a block's mark.
fn unquoted(text: &str, at: Location) -> bool {
    let (Ok(line), Ok(column)) = (usize::try_from(at.line()), usize::try_from(at.column())) else {
        return true;
    };
    let line = text.split('\n').nth(line.saturating_sub(1)).unwrap_or_default();
    // An anchor or a tag may stand before it.
    let first = line
        .chars()
        .skip(column.saturating_sub(1))
        .collect::<String>()
        .split_whitespace()
        .find(|word| !word.starts_with(['&', '!']))
        .and_then(|word| word.chars().next());
    !matches!(first, Some('"' | '\'' | '|' | '>'))
}

/// A YAML document of which only the places and the texts count.
enum Tree {
    Leaf,
    Text(String),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

fn locate(tree: &Spanned<Tree>, pointer: &str) -> Location {
    let mut here = tree;
    for step in pointer.split('/').filter(|step| !step.is_empty()) {
        let next = match &here.value {
            Tree::Leaf | Tree::Text(_) => None,
            Tree::List(list) => step.parse::<usize>().ok().and_then(|index| list.get(index)),
            Tree::Map(map) => map.iter().find(|(key, _)| key.value == step).map(|(_, value)| value),
        };
        let Some(next) = next else { break };
        here = next;
    }
    here.referenced
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Places;

        impl<'de> Visitor<'de> for Places {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
                Ok(Tree::Text(text.to_owned()))
            }

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_none<E>(self) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Tree::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
                let mut map = Vec::new();
                while let Some(member) = members.next_entry()? {
                    map.push(member);
                }
                Ok(Tree::Map(map))
            }
        }

        deserializer.deserialize_any(Places)
    }
}
