//! One file a command.

mod apply;
mod cognito;
mod control;
mod controls;
mod demo;
mod deployment;
mod dispatcher;
mod doctor;
mod explain;
mod history;
mod plan;
mod policy;
mod recover;
mod rules;
mod undo;

use std::io::{BufRead as _, Write as _};

use clap::CommandFactory as _;

use crate::{
    Surroundings,
    args::{Cli, Command, Format, Global},
    context::{Context, Kept},
    exit::{Exit, Failure, Result},
    output::{Counts, Entry, Paint, json, text},
    work::Item,
};

pub(crate) async fn run(cli: Cli, around: &mut Surroundings) -> Result<Exit> {
    let Cli { global, command } = cli;
    match command {
        Command::Plan(args) => Box::pin(plan::run(&global, &args, around)).await,
        Command::Apply(args) => Box::pin(apply::run(&global, &args, around)).await,
        Command::Undo(args) => Box::pin(undo::run(&global, &args, around)).await,
        Command::Recover(args) => Box::pin(recover::run(&global, &args, around)).await,
        Command::Stop(args) => Box::pin(control::stop(&global, &args, around)).await,
        Command::Resume(args) => Box::pin(control::resume(&global, &args, around)).await,
        Command::History(args) => Box::pin(history::run(&global, &args, around)).await,
        Command::Explain(args) => explain::run(&global, &args, around),
        Command::Controls(args) => controls::run(&global, &args, around),
        Command::Rules(args) => rules::run(&global, &args, around),
        Command::Policy(args) => Box::pin(policy::run(&global, &args, around)).await,
        Command::Cognito(command) => Box::pin(cognito::run(&global, &command, around)).await,
        Command::Doctor => Box::pin(doctor::run(&global, around)).await,
        Command::Demo(args) => Box::pin(demo::run(&global, &args, around)).await,
        Command::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "redress", &mut script);
            around.out.write_all(&script)?;
            Ok(Exit::Done)
        }
    }
}

/// Says who calls, by which rules, and which locks hold.
fn head(around: &mut Surroundings, paint: Paint, context: &Context, writes: bool) -> Result<()> {
    let Context { reach, caller, rules_source, engine, .. } = context;
    let out = &mut around.out;
    writeln!(
        out,
        "Caller   {}, account {}, Region {}",
        text::whole(&caller.arn),
        caller.account,
        reach.region
    )?;
    writeln!(out, "Rules    {} (hash {})", text::whole(rules_source), engine.rules.hash)?;
    let calls = if writes { "the fix's declared calls" } else { "the declared reads" };
    let locks = match &reach.role {
        None => {
            format!("this process lets only {calls} out; own credentials: no session policy (see --role)")
        }
        Some(role) => {
            let role = text::whole(&role.name);
            format!("this process lets only {calls} out, and so does the session policy of role {role}")
        }
    };
    writeln!(out, "Locks    {locks}")?;
    if writes {
        let name = text::whole(&engine.store.name());
        match &context.kept {
            Kept::Deployed => writeln!(out, "Records  {name}, shared with the deployment")?,
            Kept::Here | Kept::Nowhere => {
                writeln!(out, "Records  {name}: a lock file guards this machine alone (see --deployment)")?;
            }
        }
    }
    writeln!(out, "{}", paint.dim(&"─".repeat(72)))?;
    Ok(())
}

fn entries(around: &mut Surroundings, paint: Paint, items: &[Item]) -> Result<()> {
    for item in items {
        text::entry(&mut around.out, paint, &item.entry)?;
    }
    Ok(())
}

fn of(items: &[Item]) -> Vec<Entry> {
    items.iter().map(|item| item.entry.clone()).collect()
}

/// Prints a document or, as text, the entries and their summary.
fn outcomes(
    around: &mut Surroundings,
    global: &Global,
    paint: Paint,
    context: &Context,
    items: &[Item],
    (kind, name, first): (&str, &str, &str),
) -> Result<()> {
    let all = of(items);
    match global.format {
        Format::Json => json::print(&mut around.out, &json::outcomes(kind, context, &all))?,
        Format::Text => {
            entries(around, paint, items)?;
            writeln!(around.out, "{}", paint.bold(&Counts::of(&all).line(name, first)))?;
        }
    }
    Ok(())
}

/// Nothing else may stand beside a JSON document, not even a question.
fn asks_nothing_in_json(global: &Global, needs_no_answer: bool) -> Result<()> {
    if global.format == Format::Json && !needs_no_answer {
        return Err(Failure::input("--format json can't ask: it needs --yes or --dry-run"));
    }
    Ok(())
}

/// Asks, unless that was answered beforehand. Only `yes` is yes.
fn ask(around: &mut Surroundings, question: &str, yes: bool) -> Result<bool> {
    if yes {
        return Ok(true);
    }
    if !around.in_is_terminal {
        let why = "nobody can be asked: standard input is no terminal; nothing was changed (--yes agrees \
                   beforehand)";
        return Err(Failure::new(Exit::Refused, why));
    }
    around.out.flush()?;
    write!(around.err, "{question} Only 'yes' is accepted: ")?;
    around.err.flush()?;
    let mut answer = String::new();
    around.input.read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

/// Tells the findings, if that was asked for; what could not be told is a failure of its own.
async fn tell(around: &mut Surroundings, context: &Context, items: &[Item], report: bool) -> Result<Exit> {
    if !report {
        return Ok(Exit::Done);
    }
    let failed = crate::work::report(context, items).await;
    for line in &failed {
        writeln!(around.err, "redress: the finding was not written to: {line}")?;
    }
    Ok(if failed.is_empty() { Exit::Done } else { Exit::Failed })
}
