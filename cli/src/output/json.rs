//! JSON for programs: `docs/json-output.md` describes it.

use std::{fmt::Write as _, io};

use redress_remediators::Change;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Counts, Entry};
use crate::context::Context;

/// Prints a document. What a terminal might take for a command, or not show, is escaped, which changes
/// nothing of what it says.
pub(crate) fn print(out: &mut dyn io::Write, document: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(document).map_err(io::Error::other)?;
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        let printable = character.is_ascii() && character != '\u{7f}'
            || !character.is_ascii() && character.escape_debug().len() == 1;
        if printable {
            safe.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string can't fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        }
    }
    writeln!(out, "{safe}")
}

/// The document of `plan`, `apply`, `undo` and `recover`.
pub(crate) fn outcomes(kind: &str, context: &Context, entries: &[Entry]) -> Value {
    document(kind, context, entries, &Counts::of(entries))
}

/// The same, of items that say more than an entry does.
pub(crate) fn document(kind: &str, context: &Context, items: &[impl Serialize], summary: &Counts) -> Value {
    json!({
        "schema": format!("redress.{kind}/1"),
        "version": env!("CARGO_PKG_VERSION"),
        "caller": { "account": context.caller.account, "arn": context.caller.arn },
        "region": context.reach.region,
        "rules": { "source": context.rules_source, "hash": &*context.engine.rules.hash },
        "locks": context.locks(),
        "store": context.engine.store.name(),
        "items": items,
        "summary": summary,
    })
}

/// A change in a document.
#[derive(Serialize)]
pub(crate) struct Changed<'a> {
    pub(crate) changes: Vec<super::Line>,
    pub(crate) change: &'a Change<Value>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::output::tests::{entries, snapshot};

    #[test]
    fn every_outcome_as_json() {
        let mut out = Vec::new();
        print(&mut out, &json!({ "items": entries(), "summary": Counts::of(&entries()) })).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains('\u{202e}') && text.contains("\\u202e"));
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["items"][2]["title"], "evil \u{1b}[2J\u{202e}title`");
        snapshot("outcomes.json", &text);
    }
}
