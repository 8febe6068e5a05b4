//! `redress history`: what was done, and whether the records are whole.

mod verify;

use std::io::Write as _;

use redress_router::{
    audit::{Asker, Record, verify_run_of},
    event::shown,
    store::{Index, Store},
};
use serde_json::{Value, json};

use crate::{
    Surroundings,
    args::{Format, Global, History},
    context::{Reach, Use, account, assumed, deployed, keys, paint, store},
    exit::{Exit, Failure, Result},
    output::{Paint, json, json::Changed, lines, text},
};

/// A run as it is told: its records, or why they can't be believed.
struct Told {
    run: String,
    records: Result<Vec<Record>, String>,
}

impl Told {
    async fn read(store: &dyn Store, run: &str) -> Result<Self> {
        let lines = store.run(run).await?;
        let records = verify_run_of(run, &lines).map_err(|broken| broken.0);
        Ok(Self { run: run.to_owned(), records })
    }

    fn open(&self) -> bool {
        self.records.as_ref().is_ok_and(|records| !records.last().is_some_and(|record| record.last))
    }
}

pub(crate) async fn run(global: &Global, args: &History, around: &mut Surroundings) -> Result<Exit> {
    if args.verify {
        return verify::run(global, args, around).await;
    }
    let paint = paint(global, around);
    // Records in a folder can be read without AWS, unless the caller's account or Region is needed.
    let named = args.run.is_some() || args.finding.is_some() || args.account.is_some();
    let whole_key = args.resource.as_deref().is_some_and(|text| !text.starts_with("arn:"));
    let reach = if deployed(global)? || !(named || whole_key) {
        Some(Reach::new(global, around).await?)
    } else {
        None
    };
    let (store, _) = store(global, reach.as_ref().map(|reach| &reach.aws), Use::Read)?;
    let limit = usize::from(args.limit);
    let (mut runs, mut none) = (Vec::new(), String::new());
    if let Some(run) = &args.run {
        runs.push(run.clone());
    } else {
        let refs = match (&args.resource, &args.finding, &args.account, &reach) {
            (Some(resource), ..) => {
                let (account, region) = match &reach {
                    Some(reach) if !whole_key => (reach.caller().await?.account, reach.region.clone()),
                    _ => (String::new(), String::new()),
                };
                let mut refs = Vec::new();
                for key in keys(resource, &account, &region)? {
                    refs.extend(store.runs(Index::Resource(&key.to_string()), limit).await?);
                }
                // Of several keys, as a resource has that is regional and global: as if they were one.
                refs.sort_by_key(|run| std::cmp::Reverse(run.time));
                refs.truncate(limit);
                if refs.is_empty() {
                    none = assumed(resource, &account, &region);
                }
                refs
            }
            (None, Some(finding), ..) => store.runs(Index::Finding(finding), limit).await?,
            (None, None, Some(id), _) => {
                let id = account(id).map_err(|failure| failure.context("--account"))?;
                store.runs(Index::Account(id), limit).await?
            }
            (None, None, None, Some(reach)) => {
                let caller = reach.caller().await?;
                store.runs(Index::Account(&caller.account), limit).await?
            }
            (None, None, None, None) => return Err(Failure::input("whose history is not said")),
        };
        runs.extend(refs.into_iter().map(|found| found.run));
    }
    let mut told = Vec::new();
    for run in &runs {
        let mut one = Told::read(&*store, run).await?;
        if args.run.is_none() && one.records.as_ref().is_ok_and(Vec::is_empty) {
            one.records = Err("it is listed, and its records are gone".to_owned());
        }
        told.push(one);
    }
    if let (Some(run), Some(Ok(records))) = (&args.run, told.first().map(|told| &told.records))
        && records.is_empty()
    {
        return Err(Failure::input(format!("there is no run `{}` in {}", shown(run), store.name())));
    }
    let broken = told.iter().filter(|told| told.records.is_err()).count();
    match global.format {
        Format::Json => {
            let runs: Vec<Value> = told.iter().map(document).collect();
            let document = json!({ "schema": "redress.history/1", "store": store.name(), "runs": runs });
            json::print(&mut around.out, &document)?;
        }
        Format::Text => {
            for one in &told {
                print(&mut around.out, paint, one, args.run.is_some())?;
            }
            let name = text::whole(&store.name());
            let many = told.len();
            if many == 0 {
                writeln!(around.out, "No runs{none} in {name}.")?;
            } else if broken == 0 {
                let word = if many == 1 { "run" } else { "runs" };
                writeln!(around.out, "{many} {word} in {name}; every chain of records is whole.")?;
            } else {
                let line = format!("{broken} of {many} runs in {name} have records that can't be believed.");
                writeln!(around.out, "{}", paint.bold(&line))?;
            }
        }
    }
    Ok(if broken == 0 { Exit::Done } else { Exit::Failed })
}

fn document(told: &Told) -> Value {
    match &told.records {
        Ok(records) => json!({
            "run": told.run,
            "chain": if told.open() { "open" } else { "whole" },
            "records": records.iter().map(|record| {
                let mut value = serde_json::to_value(record).unwrap_or_default();
                if let (Some(map), Some(change)) = (value.as_object_mut(), &record.change) {
                    let changed = Changed { changes: lines(change), change };
                    map.insert("changes".to_owned(), json!(changed.changes));
                }
                value
            }).collect::<Vec<_>>(),
        }),
        Err(why) => json!({ "run": told.run, "chain": "broken", "why": why }),
    }
}

fn print(out: &mut dyn std::io::Write, paint: Paint, told: &Told, detailed: bool) -> std::io::Result<()> {
    let run = shown(&told.run);
    let records = match &told.records {
        Ok(records) => records,
        Err(why) => {
            return writeln!(out, "run {run}\n  {}: {}\n", text::word(paint, "failed"), text::whole(why));
        }
    };
    let Some(last) = records.last() else { return Ok(()) };
    let subject = &last.subject;
    let when = last.time.strftime("%Y-%m-%d %H:%M:%S UTC");
    let stage = if told.open() {
        "cut off or under way"
    } else {
        text::told(last.stage.as_str(), last.reason.as_deref())
    };
    let about = subject.resource.as_ref().map(ToString::to_string).unwrap_or_default();
    let control = paint.bold(&shown(&subject.control));
    writeln!(out, "{when}  {control}  {}", text::word(paint, stage))?;
    if !about.is_empty() {
        writeln!(out, "  {}", text::whole(&about))?;
    }
    let change = records.iter().rev().find_map(|record| record.change.as_ref());
    for line in change.map(lines).unwrap_or_default() {
        text::change(out, paint, &line)?;
    }
    if let Some(reason) = &last.reason {
        writeln!(out, "  {}", text::whole(reason))?;
    }
    writeln!(out, "  asked by {}", asker(&subject.asked_by))?;
    if let Some(undone) = &subject.undoes {
        writeln!(out, "  undoes run {}", shown(undone))?;
    }
    let by = subject.remediator.as_deref().map_or("-".to_owned(), shown);
    let rule = subject.rule.as_deref().map_or("-".to_owned(), shown);
    let facts = format!("run {run}, by {by}, rule {rule}, rules {}", shown(&subject.rules_hash));
    writeln!(out, "  {}", paint.dim(&facts))?;
    if detailed {
        if let Some(finding) = &subject.finding {
            writeln!(out, "  finding {}", text::whole(&finding.id))?;
        }
        for record in records {
            let time = record.time.strftime("%H:%M:%S%.3f");
            writeln!(out, "  record {} {time} {}", record.seq, record.stage.as_str())?;
            for note in &record.notes {
                writeln!(out, "    note: {}", text::whole(note))?;
            }
            if let Some(code) = &record.error_code {
                writeln!(out, "    AWS's error: {}", shown(code))?;
            }
            if let Some(after) = &record.after {
                writeln!(out, "    seen at the end: {}", text::whole(&after.to_string()))?;
            }
            for call in &record.calls {
                let status = call.status.map_or("no answer".to_owned(), |status| status.to_string());
                let id =
                    call.request_id.as_deref().map_or(String::new(), |id| format!(", request {}", shown(id)));
                let name = format!("{}:{}", shown(&call.service), shown(&call.operation));
                writeln!(out, "    {name} {status}{}", paint.dim(&id))?;
            }
        }
        let count = records.len();
        let end = if told.open() { "; its last one is still to come" } else { ", the last one is there" };
        writeln!(out, "  chain: {count} records, each follows the one before{end}")?;
    }
    writeln!(out)
}

fn asker(asked_by: &Asker) -> String {
    match asked_by {
        Asker::Automatic { event } => format!("a rule, for event {}", shown(event)),
        Asker::CustomAction { action, account, region, .. } => {
            format!("custom action {} in {} {}", text::whole(action), shown(account), shown(region))
        }
        Asker::Cli { caller } => format!("{} on the command line", text::whole(caller)),
        Asker::Recovery => "recovery".to_owned(),
    }
}
