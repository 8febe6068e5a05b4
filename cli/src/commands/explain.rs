//! `redress explain`: all about a control or a remediator.

use std::io::Write as _;

use redress_remediators::{Access, Action, Erased, On, REGISTRY, find, serving};
use redress_router::{
    control::{ControlId, INACTIVE_USER},
    event::shown,
    rules::{RuleSet, suggest},
};
use serde_json::{Value, json};

use crate::{
    Surroundings,
    args::{Explain, Format, Global},
    context::{paint, rules},
    exit::{Exit, Failure, Result},
    output::{Paint, json},
};

pub(crate) fn run(global: &Global, args: &Explain, around: &mut Surroundings) -> Result<Exit> {
    let paint = paint(global, around);
    let (rules, _) = rules(global)?;
    if let Some(remediator) = find(&args.what) {
        match global.format {
            Format::Json => {
                let document = json!({
                    "schema": "redress.explain/1", "control": null, "remediators": [one(remediator, &rules)],
                });
                json::print(&mut around.out, &document)?;
            }
            Format::Text => print(&mut around.out, paint, remediator, &rules)?,
        }
        return Ok(Exit::Done);
    }
    let control = ControlId::parse(&args.what).ok_or_else(|| {
        let names = REGISTRY.iter().map(|known| known.spec().name);
        Failure::input(format!(
            "`{}` is neither a control such as S3.14 nor a remediator; {}",
            shown(&args.what),
            suggest(&args.what, names)
        ))
    })?;
    let serving: Vec<_> = serving(control.as_str()).collect();
    if serving.is_empty() && control.info().is_none() {
        let what = format!(
            "there is no control `{control}` that redress knows; `redress controls --all` lists them"
        );
        return Err(Failure::input(what));
    }
    let info = control.info();
    if global.format == Format::Json {
        let document = json!({
            "schema": "redress.explain/1",
            "control": {
                "id": control.as_str(),
                "title": info.map(|info| info.title),
                "severity": info.map(|info| info.severity),
                "resource_type": info.map(|info| info.resource_type),
                "schedule": info.map(|info| info.schedule),
                "parameters": info.map(|info| info.parameters),
            },
            "remediators": serving.iter().map(|remediator| one(*remediator, &rules)).collect::<Vec<_>>(),
        });
        json::print(&mut around.out, &document)?;
        return Ok(Exit::Done);
    }
    let out = &mut around.out;
    writeln!(out, "{}", paint.bold(control.as_str()))?;
    match info {
        Some(info) => {
            writeln!(out, "  {}", info.title)?;
            writeln!(out, "  severity {}, {}, {}", info.severity, info.resource_type, info.schedule)?;
            if !info.parameters.is_empty() {
                writeln!(out, "  parameters in Security Hub: {}", info.parameters)?;
            }
            writeln!(out, "  https://docs.aws.amazon.com/console/securityhub/{}/remediation", info.id)?;
        }
        None if control.as_str() == INACTIVE_USER => {
            writeln!(out, "  redress's own: a user of a Cognito user pool who has not signed in for long")?;
        }
        None => writeln!(out, "  not in AWS's list that redress has")?,
    }
    writeln!(out)?;
    if serving.is_empty() {
        writeln!(
            out,
            "No remediator serves it by itself. A rule may give it to a runbook: see `redress explain ssm.run_runbook`."
        )?;
    }
    for remediator in serving {
        print(out, paint, remediator, &rules)?;
    }
    Ok(Exit::Done)
}

fn one(remediator: &dyn Erased, rules: &RuleSet) -> Value {
    let spec = remediator.spec();
    let actions = |access| remediator.actions(access).iter().map(|action| action.iam).collect::<Vec<_>>();
    json!({
        "name": spec.name,
        "version": spec.version,
        "controls": spec.controls,
        "risk": spec.risk.as_str(),
        "what": spec.what,
        "who_notices": spec.who_notices,
        "way_back": spec.way_back,
        "resource_type": remediator.kind().asff,
        "params_schema": remediator.params_schema(),
        "iam": {
            "reads": actions(Access::Plan),
            "writes": spec.writes.iter().map(|action| action.iam).collect::<Vec<_>>(),
            "undo": spec.undo.iter().map(|action| action.iam).collect::<Vec<_>>(),
            "implied": spec.implied.iter().map(|implied| {
                json!({ "action": implied.action.iam, "why": implied.why })
            }).collect::<Vec<_>>(),
        },
        "rules": by(remediator, rules).iter().map(|(name, _)| name).collect::<Vec<_>>(),
    })
}

/// The rules that use the remediator, each with how far it goes.
fn by(remediator: &dyn Erased, rules: &RuleSet) -> Vec<(String, String)> {
    let name = remediator.spec().name;
    rules
        .rules
        .iter()
        .filter(|rule| rule.remediator.spec().name == name)
        .map(|rule| {
            let (automatic, on_request) = (rule.source.automatic.as_str(), rule.source.on_request.as_str());
            (rule.name().to_owned(), format!("automatic: {automatic}, on_request: {on_request}"))
        })
        .collect()
}

fn print(
    out: &mut dyn std::io::Write,
    paint: Paint,
    remediator: &dyn Erased,
    rules: &RuleSet,
) -> std::io::Result<()> {
    let spec = remediator.spec();
    let section = |out: &mut dyn std::io::Write, head: &str, text: &str| {
        writeln!(out, "  {}\n{}", paint.bold(head), wrapped(text))
    };
    writeln!(out, "{}", paint.bold(spec.name))?;
    let controls = if spec.is_general() { "any".to_owned() } else { spec.controls.join(", ") };
    let risk = spec.risk.as_str();
    writeln!(out, "  version {}, controls {controls}, risk at worst {risk}\n", spec.version)?;
    section(out, "What changes", spec.what)?;
    section(out, "Who notices", spec.who_notices)?;
    section(out, "Undo", spec.way_back)?;
    writeln!(out, "  {}", paint.bold("Parameters of a rule"))?;
    let params = parameters(&serde_json::to_value(remediator.params_schema()).unwrap_or_default());
    if params.is_empty() {
        writeln!(out, "    none")?;
    }
    for (name, default, what) in params {
        writeln!(out, "    {name} = {default}")?;
        if !what.is_empty() {
            writeln!(out, "{}", wrapped(&what).replace("    ", "      "))?;
        }
    }
    writeln!(out, "  {}", paint.bold("Rules"))?;
    let by = by(remediator, rules);
    if by.is_empty() {
        writeln!(out, "    none uses it")?;
    }
    for (name, modes) in by {
        writeln!(out, "    {name} ({modes})")?;
    }
    writeln!(out, "  {}", paint.bold("IAM actions"))?;
    let reads = remediator.actions(Access::Plan);
    for (head, actions) in
        [("to plan", reads.as_slice()), ("to fix, too", spec.writes), ("to undo, too", spec.undo)]
    {
        for action in actions {
            writeln!(out, "    {head:12} {} on {}", action.iam, on(remediator, action))?;
        }
    }
    for implied in spec.implied {
        writeln!(out, "    {:12} {}: {}", "implied", implied.action.iam, implied.why)?;
    }
    writeln!(out, "  as a policy: redress policy {}\n", spec.name)
}

fn on(remediator: &dyn Erased, action: &Action) -> String {
    match action.on {
        On::Resource => remediator.kind().arn.to_owned(),
        On::Arn(arn) => arn.to_owned(),
        On::Region => "* in its Region".to_owned(),
        On::Anything => "*".to_owned(),
        On::Created(arn, by) => format!("{arn} while {by} makes it"),
        On::Passed(arn, to) => format!("{arn} to hand it to {to}"),
    }
}

/// Name, default and description of each member of a schema.
fn parameters(schema: &Value) -> Vec<(String, String, String)> {
    let members = schema["properties"].as_object();
    let one = |(name, member): (&String, &Value)| {
        let default = member.get("default").map_or("(nothing)".to_owned(), Value::to_string);
        let what = member["description"].as_str().unwrap_or_default().replace('\n', " ");
        (name.clone(), default, what)
    };
    members.into_iter().flatten().map(one).collect()
}

/// Text in lines of at most 96 characters, each four in.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        if lines.last().is_some_and(|line| !line.is_empty() && line.len() + word.len() > 91) {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(if line.is_empty() { "    " } else { " " });
            line.push_str(word);
        }
    }
    lines.join("\n")
}
