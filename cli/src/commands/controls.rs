//! `redress controls`: what can be fixed.

use std::io::Write as _;

use redress_remediators::{Risk, serving};
use redress_router::control::{self, INACTIVE_USER};
use serde::Serialize;
use serde_json::json;

use crate::{
    Surroundings,
    args::{Controls, Format, Global},
    context::paint,
    exit::{Exit, Result},
    output::json,
};

#[derive(Serialize)]
struct Row {
    control: &'static str,
    title: &'static str,
    severity: Option<&'static str>,
    remediators: Vec<&'static str>,
    risk: Option<&'static str>,
}

pub(crate) fn run(global: &Global, args: &Controls, around: &mut Surroundings) -> Result<Exit> {
    let paint = paint(global, around);
    let row = |control: &'static str, title, severity| {
        let found: Vec<_> = serving(control).collect();
        Row {
            control,
            title,
            severity,
            remediators: found.iter().map(|remediator| remediator.spec().name).collect(),
            risk: found.iter().map(|remediator| remediator.spec().risk).max().map(Risk::as_str),
        }
    };
    let mut rows: Vec<Row> =
        control::all().iter().map(|info| row(info.id, info.title, Some(info.severity))).collect();
    rows.push(row(INACTIVE_USER, "Users of Cognito user pools should have been active lately", None));
    let known = control::all().len();
    let fixed = rows.iter().filter(|row| !row.remediators.is_empty()).count();
    if !args.all {
        rows.retain(|row| !row.remediators.is_empty());
    }
    if global.format == Format::Json {
        let document = json!({
            "schema": "redress.controls/1", "fixed": fixed, "known_to_security_hub": known, "controls": rows,
        });
        json::print(&mut around.out, &document)?;
        return Ok(Exit::Done);
    }
    let width = rows.iter().map(|row| row.control.len()).max().unwrap_or_default();
    let names = rows.iter().map(|row| row.remediators.join(", ").len()).max().unwrap_or_default();
    for row in &rows {
        let name = if row.remediators.is_empty() { "-".to_owned() } else { row.remediators.join(", ") };
        let (severity, risk) = (row.severity.unwrap_or("-"), row.risk.unwrap_or("-"));
        let control = paint.bold(&format!("{:width$}", row.control));
        writeln!(around.out, "{control}  {severity:8}  {name:names$}  {risk:8}  {}", row.title)?;
    }
    writeln!(
        around.out,
        "\n{fixed} controls can be fixed; Security Hub has {known} that redress knows. `redress explain CONTROL` \
         tells more."
    )?;
    Ok(Exit::Done)
}
