//! `redress rules`: rules checked, and tried on findings.

use std::io::Write as _;

use redress_remediators::REGISTRY;
use redress_router::{
    event::shown,
    rules::{RuleSet, RulesError},
    rules_tests,
};
use serde_json::{Value, json};

use crate::{
    Surroundings,
    args::{Format, Global, Rules},
    context::{paint, rules},
    exit::{Exit, Failure, Result},
    output::{json, text},
};

pub(crate) fn run(global: &Global, args: &Rules, around: &mut Surroundings) -> Result<Exit> {
    match args {
        Rules::Check { path } => {
            let (rules, source) = match path {
                Some(path) => (RuleSet::load(path, REGISTRY)?, path.display().to_string()),
                None => rules(global)?,
            };
            let (count, exempt) = (rules.rules.len(), rules.exemptions.len());
            match global.format {
                Format::Json => json::print(
                    &mut around.out,
                    &json!({
                        "schema": "redress.rules-check/1", "source": source, "hash": &*rules.hash,
                        "rules": rules.rules.iter().map(redress_router::rules::Rule::name).collect::<Vec<_>>(),
                        "exemptions": exempt,
                    }),
                )?,
                Format::Text => writeln!(
                    around.out,
                    "{}: {count} rules and {exempt} exemptions are sound (hash {})",
                    text::whole(&source),
                    rules.hash
                )?,
            }
            Ok(Exit::Done)
        }
        Rules::Test { path } => {
            let paint = paint(global, around);
            let report =
                rules_tests::run(path, REGISTRY).map_err(|error: RulesError| Failure::from(error))?;
            let (passed, failed) = (report.passed(), report.failed());
            if global.format == Format::Json {
                let results = report.results.iter().map(
                    |result| json!({ "file": result.file, "name": result.name, "failures": result.failures }),
                );
                let document = json!({
                    "schema": "redress.rules-test/1", "passed": passed, "failed": failed,
                    "results": results.collect::<Vec<Value>>(),
                });
                json::print(&mut around.out, &document)?;
            } else {
                for result in &report.results {
                    let ok = result.failures.is_empty();
                    let word = if ok { "ok" } else { "FAILED" };
                    let colour = if ok { anstyle::AnsiColor::Green } else { anstyle::AnsiColor::Red };
                    let word = paint.in_colour(colour, word);
                    writeln!(around.out, "{word}  {}: {}", text::whole(&result.file), shown(&result.name))?;
                    for line in &result.failures {
                        writeln!(around.out, "      {}", text::whole(line))?;
                    }
                }
                writeln!(around.out, "{passed} passed, {failed} failed")?;
            }
            Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
        }
    }
}
