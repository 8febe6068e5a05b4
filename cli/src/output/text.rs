//! Text for people.

use std::io::{self, Write};

use anstyle::AnsiColor;
use redress_router::event::shown;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::{Entry, Line, Paint};

/// Longest value that is shown on one line; longer texts are shown as the lines that differ.
const LONGEST_VALUE: usize = 100;

/// Untrusted text on one line, whole: what a change alters must not be cut off.
pub(crate) fn whole(text: &str) -> String {
    text.chars()
        .flat_map(|character| match character {
            '"' | '\'' | '\\' => vec![character],
            _ => character.escape_debug().collect(),
        })
        .collect()
}

/// Prints one entry.
pub(crate) fn entry(out: &mut dyn Write, paint: Paint, entry: &Entry) -> io::Result<()> {
    let Entry { outcome, control, title, severity, resource, .. } = entry;
    let mut head = String::new();
    if let Some(control) = control {
        let severity = severity.as_deref().map(|severity| format!(" {}", shown(severity)));
        let title = title.as_deref().map(|title| format!("  {}", shown(title)));
        head = [Some(paint.bold(&shown(control))), severity, title].into_iter().flatten().collect();
    }
    if head.is_empty() {
        let why = shown(entry.reason.as_deref().unwrap_or_default());
        return writeln!(out, "{}: {}: {why}\n", shown(&entry.source), word(paint, outcome));
    }
    let finding = || entry.finding.as_deref().unwrap_or_default();
    let about = resource.as_deref().map_or_else(|| whole(finding()), whole);
    writeln!(out, "{head}\n  {about}")?;
    if let Some(earlier) = entry.same_as {
        return writeln!(out, "  the same change as number {} above asks for\n", earlier + 1);
    }
    let reason = entry.reason.as_deref().unwrap_or_default();
    // Some reasons begin with the outcome itself.
    let reason = reason.strip_prefix(outcome).unwrap_or(reason).trim_start_matches([' ', ':']);
    let reason = if reason.is_empty() { String::new() } else { format!(": {}", whole(reason)) };
    let mut facts = Vec::new();
    if *outcome != "planned" || entry.reason.is_some() || entry.undoes.is_some() {
        let undoes = entry.undoes.as_deref().filter(|_| matches!(*outcome, "planned" | "undone"));
        let undoes = undoes.map(|run| format!(" (undoes run {})", shown(run))).unwrap_or_default();
        let verdict = if *outcome == "planned" && entry.undoes.is_some() {
            paint.in_colour(AnsiColor::Yellow, "would be undone")
        } else {
            word(paint, told(outcome, entry.reason.as_deref()))
        };
        writeln!(out, "  {verdict}{undoes}{reason}")?;
    }
    for line in &entry.changes {
        change(out, paint, line)?;
    }
    if !entry.changes.is_empty() {
        facts.extend(entry.remediator.as_deref().map(|name| format!("by {}", shown(name))));
        facts.extend(entry.rule.as_deref().map(|rule| format!("rule {}", shown(rule))));
        facts.extend(entry.risk.map(|risk| format!("risk {risk}")));
    }
    facts.extend(entry.run.as_deref().map(|run| format!("run {}", shown(run))));
    if !facts.is_empty() {
        writeln!(out, "  {}", paint.dim(&facts.join(", ")))?;
    }
    for note in &entry.notes {
        writeln!(out, "  note: {}", whole(note))?;
    }
    writeln!(out)
}

/// What an outcome is told as: that something was done has a reason where nobody has looked, AWS's word.
pub(crate) fn told<'a>(outcome: &'a str, reason: Option<&str>) -> &'a str {
    if outcome == "verified" && reason.is_some() { "done" } else { outcome }
}

/// An outcome as a word, in the colour of its gravity.
pub(crate) fn word(paint: Paint, outcome: &str) -> String {
    let (word, colour) = match outcome {
        "verified" => ("fixed, and seen fixed", AnsiColor::Green),
        "done" => ("done, as AWS says", AnsiColor::Green),
        "undone" => ("undone, and seen so", AnsiColor::Green),
        "compliant" => ("nothing to do", AnsiColor::Green),
        "planned" => ("would be changed", AnsiColor::Yellow),
        "disagrees" => ("disagrees with Security Hub", AnsiColor::Red),
        "refused" | "denied" | "failed" | "invalid" => (outcome, AnsiColor::Red),
        other => (other, AnsiColor::Yellow),
    };
    paint.in_colour(colour, word)
}

/// Prints one value that changes.
pub(crate) fn change(out: &mut dyn Write, paint: Paint, line: &Line) -> io::Result<()> {
    let colour = match line.op {
        "+" => AnsiColor::Green,
        "-" => AnsiColor::Red,
        _ => AnsiColor::Yellow,
    };
    let op = paint.in_colour(colour, line.op);
    let name = if line.path.is_empty() { String::new() } else { format!("{}: ", whole(&line.path)) };
    if let (Some(Value::String(from)), Some(Value::String(to))) = (&line.from, &line.to)
        && (from.chars().count() > LONGEST_VALUE || to.chars().count() > LONGEST_VALUE)
    {
        writeln!(out, "    {op} {}", name.trim_end())?;
        return document(out, paint, &laid_out(from), &laid_out(to));
    }
    let value = |value: &Option<Value>| value.as_ref().map(plain).unwrap_or_default();
    match line.op {
        "+" => writeln!(out, "    {op} {name}{}", value(&line.to)),
        "-" => writeln!(out, "    {op} {name}{}", value(&line.from)),
        _ => writeln!(out, "    {op} {name}{} -> {}", value(&line.from), value(&line.to)),
    }
}

/// A document that is JSON, a member a line; any other as it is.
fn laid_out(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(value) => serde_json::to_string_pretty(&value).unwrap_or_else(|_| text.to_owned()),
        Err(_) => text.to_owned(),
    }
}

/// The lines of a document that differ, with two around them.
fn document(out: &mut dyn Write, paint: Paint, from: &str, to: &str) -> io::Result<()> {
    let diff = TextDiff::from_lines(from, to);
    for (number, group) in diff.grouped_ops(2).iter().enumerate() {
        if number > 0 {
            writeln!(out, "        …")?;
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let text = whole(change.value().trim_end_matches(['\n', '\r']));
            match change.tag() {
                ChangeTag::Equal => writeln!(out, "        {text}")?,
                ChangeTag::Insert => {
                    writeln!(out, "      {} {text}", paint.in_colour(AnsiColor::Green, "+"))?;
                }
                ChangeTag::Delete => writeln!(out, "      {} {text}", paint.in_colour(AnsiColor::Red, "-"))?,
            }
        }
    }
    Ok(())
}

/// A value in a line: text without quotes, an object's members by name, in the order they have.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "(none)".to_owned(),
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => whole(text),
        Value::Object(members) if !members.is_empty() => {
            let one = |(name, value): (&String, &Value)| format!("{}={}", whole(name), plain(value));
            members.iter().filter(|(_, value)| !value.is_null()).map(one).collect::<Vec<_>>().join(" ")
        }
        other => whole(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::output::{
        Counts,
        tests::{entries, snapshot},
    };

    fn printed(paint: Paint) -> String {
        let mut out = Vec::new();
        for one in entries() {
            entry(&mut out, paint, &one).unwrap();
        }
        writeln!(out, "{}", Counts::of(&entries()).line("Plan", "planned")).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_outcome_as_text() {
        snapshot("outcomes.txt", &printed(Paint(false)));
    }

    #[test]
    fn colour_is_all_that_escapes() {
        let plain = printed(Paint(false));
        assert!(!plain.contains('\u{1b}') && !plain.contains('\u{202e}'));
        let coloured = printed(Paint(true));
        assert!(coloured.contains("\u{1b}[3"));
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
    }
}
