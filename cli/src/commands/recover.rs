//! `redress recover`: shows runs that were cut off, asks, and goes on with them.

use std::io::{self, Write};

use anstyle::AnsiColor;
use jiff::Timestamp;
use redress_remediators::{Key, Risk};
use redress_router::{
    audit::{Record, Verb},
    engine::Done,
    event::shown,
    store::{Store, Unread, records},
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{ask, asks_nothing_in_json, deployment, head};
use crate::{
    Surroundings,
    args::{Format, Global, Recover},
    context::{Context, Use, paint},
    exit::{Exit, Result},
    output::{self, Counts, Entry, Paint, json, lines, text},
};

/// The outcome of a run that was cut off, before it is gone on with.
const CUT_OFF: &str = "planned";

/// The outcome of a run whose lease has not run out: it is somebody else's.
const UNDER_WAY: &str = "skipped";

pub(crate) async fn run(global: &Global, args: &Recover, around: &mut Surroundings) -> Result<Exit> {
    asks_nothing_in_json(global, args.yes || args.dry_run)?;
    let paint = paint(global, around);
    let as_text = global.format == Format::Text;
    let to = if args.dry_run { Use::Read } else { Use::Write };
    let context = Context::new(global, around, to).await?;
    // Looked for before the list is made: nothing is gone on with that was not shown.
    let cut_off = context.engine.cut_off().await?;
    let open = Open::all(&*context.engine.store, Timestamp::now()).await?;
    let count = |outcome| open.iter().filter(|one| one.entry.outcome == outcome).count();
    let pending = count(CUT_OFF);
    if as_text && open.is_empty() {
        writeln!(around.out, "No run was cut off in {}.", text::whole(&context.engine.store.name()))?;
    } else if as_text {
        head(around, paint, &context, !args.dry_run)?;
        for one in &open {
            one.print(&mut around.out, paint)?;
        }
        let (under_way, failed) = (count(UNDER_WAY), count("failed"));
        let summary = format!("Recover: {pending} cut off, {under_way} under way, {failed} failed.");
        writeln!(around.out, "{}", paint.bold(&summary))?;
    } else if args.dry_run {
        let counts = Counts::of(open.iter().map(|one| &one.entry));
        json::print(&mut around.out, &json::document("recover", &context, &open, &counts))?;
    }
    let listed = output::exit(open.iter().map(|one| &one.entry));
    if pending == 0 {
        if !as_text && !args.dry_run {
            let failed = open.into_iter().map(|one| one.entry).filter(|entry| entry.outcome == "failed");
            let failed: Vec<Entry> = failed.collect();
            json::print(&mut around.out, &json::outcomes("recover", &context, &failed))?;
        }
        return Ok(listed);
    }
    // Whoever only looks need not be allowed to read the function, nor have the deployment's rules at hand.
    if args.dry_run {
        return Ok(listed);
    }
    let engine = Box::pin(deployment::engine_for(global, &context)).await?;
    let question = if pending == 1 {
        "Go on with this run? It may change its resource.".to_owned()
    } else {
        format!("Go on with these {pending} runs? They may change their resources.")
    };
    if !ask(around, &question, args.yes)? {
        writeln!(around.out, "Nothing was changed.")?;
        return Ok(listed.and(Exit::Refused));
    }
    around.out.flush()?;
    let deadline = Instant::now() + args.timeout;
    let mut entries = Vec::new();
    for one in cut_off {
        entries.extend(Box::pin(engine.finish(one, deadline)).await.as_ref().map(entry));
    }
    // The engine says nothing of leases that it can't read.
    entries.extend(open.into_iter().map(|one| one.entry).filter(|entry| entry.run.is_none()));
    if as_text {
        writeln!(around.out)?;
        for entry in &entries {
            text::entry(&mut around.out, paint, entry)?;
        }
        writeln!(around.out, "{}", paint.bold(&Counts::of(&entries).line("Recover", "verified")))?;
    } else {
        json::print(&mut around.out, &json::outcomes("recover", &context, &entries))?;
    }
    Ok(listed.and(output::exit(&entries)))
}

/// A lease, as far as it says what is open.
#[derive(Deserialize)]
struct Lease {
    run: String,
    until: Timestamp,
    resource: Key,
}

/// A run whose lease is still there.
#[derive(Serialize)]
struct Open {
    #[serde(flatten)]
    entry: Entry,
    verb: Option<Verb>,
    /// When it was begun.
    begun: Option<Timestamp>,
    /// When its lease runs out.
    until: Option<Timestamp>,
}

impl Open {
    /// All of them, the oldest first. That one can't be read is said in its place.
    async fn all(store: &dyn Store, now: Timestamp) -> Result<Vec<Self>> {
        let mut open = Vec::new();
        for (key, item) in store.scan("lease#").await? {
            open.push(match Lease::deserialize(&item.body) {
                Ok(lease) => Self::read(store, lease, now).await?,
                Err(error) => Self::failed(Entry::default(), format!("state item `{key}`: {error}")),
            });
        }
        open.sort_by_key(|one| one.begun);
        Ok(open)
    }

    async fn read(store: &dyn Store, lease: Lease, now: Timestamp) -> Result<Self> {
        let Lease { run, until, resource } = lease;
        let base = Entry { run: Some(run.clone()), resource: Some(resource.to_string()), ..Entry::default() };
        let records = match records(store, &run).await {
            Ok(records) => records,
            Err(Unread::Store(error)) => return Err(error.into()),
            Err(broken @ Unread::Broken { .. }) => return Ok(Self::failed(base, broken.to_string())),
        };
        Ok(match records.first() {
            None => Self::failed(base, format!("run {run}: its intent is not in the records")),
            Some(first) => Self::of(base, first, &records, (until, now)),
        })
    }

    fn of(base: Entry, first: &Record, records: &[Record], (until, now): (Timestamp, Timestamp)) -> Self {
        let subject = &first.subject;
        let change = records.iter().rev().find_map(|record| record.change.clone());
        let (outcome, word) = if until <= now { (CUT_OFF, "ran") } else { (UNDER_WAY, "runs") };
        let entry = Entry {
            outcome,
            reason: Some(format!("its lease {word} out at {}", seconds(until))),
            source: "records".to_owned(),
            finding: subject.finding.as_ref().map(|finding| finding.id.clone()),
            control: Some(subject.control.clone()),
            account: Some(subject.account.clone()),
            region: Some(subject.region.clone()),
            remediator: subject.remediator.clone(),
            remediator_version: subject.remediator.is_some().then_some(subject.remediator_version),
            rule: subject.rule.clone(),
            risk: records.iter().rev().find_map(|record| record.risk).map(Risk::as_str),
            changes: change.as_ref().map(lines).unwrap_or_default(),
            change,
            undoes: subject.undoes.clone(),
            ..base
        };
        Self { entry, verb: Some(subject.verb), begun: Some(first.time), until: Some(until) }
    }

    fn failed(base: Entry, why: String) -> Self {
        let entry = Entry { outcome: "failed", reason: Some(why), source: "records".to_owned(), ..base };
        Self { entry, verb: None, begun: None, until: None }
    }

    fn print(&self, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
        let Self { entry, verb, begun, .. } = self;
        let reason = text::whole(entry.reason.as_deref().unwrap_or_default());
        let (Some(verb), Some(begun)) = (verb, begun) else {
            return writeln!(out, "{}: {reason}\n", text::word(paint, entry.outcome));
        };
        let control = paint.bold(&shown(entry.control.as_deref().unwrap_or_default()));
        let word = if entry.outcome == CUT_OFF { "cut off" } else { "under way" };
        let word = paint.in_colour(AnsiColor::Yellow, word);
        writeln!(out, "{}  {control}  {word}", seconds(*begun))?;
        writeln!(out, "  {}", text::whole(entry.resource.as_deref().unwrap_or_default()))?;
        let verb = match verb {
            Verb::Plan => "plan",
            Verb::Fix => "fix",
            Verb::Undo => "undo",
        };
        writeln!(out, "  {verb}: {reason}")?;
        for line in &entry.changes {
            text::change(out, paint, line)?;
        }
        let known = |text: &Option<String>| text.as_deref().map_or("-".to_owned(), shown);
        let (run, by, rule) = (known(&entry.run), known(&entry.remediator), known(&entry.rule));
        let risk = entry.risk.map(|risk| format!(", risk {risk}")).unwrap_or_default();
        writeln!(out, "  {}\n", paint.dim(&format!("run {run}, by {by}, rule {rule}{risk}")))
    }
}

fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn entry(done: &Done) -> Entry {
    let base = Entry { source: "records".to_owned(), ..Entry::default() };
    let base = match done {
        Done::Outcome(outcome) => Entry {
            control: Some(outcome.subject.control.clone()),
            account: Some(outcome.subject.account.clone()),
            region: Some(outcome.subject.region.clone()),
            finding: outcome.subject.finding.as_ref().map(|finding| finding.id.clone()),
            ..base
        },
        Done::Repeat { .. } | Done::Unwanted(_) | Done::Retry { .. } => base,
    };
    base.come_of(done)
}
