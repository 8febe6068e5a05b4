//! `redress history --verify`: whether all that a store holds is whole, alone and against a second copy.

use std::{collections::BTreeSet, path::Path};

use jiff::Timestamp;
use redress_remediators::Key;
use redress_router::{
    audit::{
        Record,
        check::{Fault, Run, Trail},
        copy::{Compared, Copy, Retention},
    },
    event::shown,
    store::file,
};
use serde_json::{Value, json};

use crate::{
    Surroundings,
    args::{Format, Global, History},
    context::{Reach, Use, account, deployed, directory, keys, paint, store},
    exit::{Exit, Failure, Result},
    output::{Paint, json, text},
};

/// What one copy can't show.
const ALONE: &str = "One copy can't show a run that was taken out or put in whole, or whose hashes were all made \
                     anew: give a second one by --against.";

/// Which runs are looked at.
enum Wanted {
    All,
    Run(String),
    Resource(Vec<Key>),
    Finding(String),
    Account(String),
}

impl Wanted {
    fn run(&self, id: &str, mut records: impl Iterator<Item = impl AsRef<Record>>) -> bool {
        match self {
            Self::All => true,
            Self::Run(run) => run == id,
            Self::Resource(keys) => records.any(|record| {
                record.as_ref().subject.resource.as_ref().is_some_and(|key| keys.contains(key))
            }),
            Self::Finding(id) => records
                .any(|record| record.as_ref().subject.finding.as_ref().is_some_and(|known| known.id == *id)),
            Self::Account(account) => records.any(|record| record.as_ref().subject.account == *account),
        }
    }
}

/// A record, lent.
struct Lent<'a>(&'a Record);

impl AsRef<Record> for Lent<'_> {
    fn as_ref(&self) -> &Record {
        self.0
    }
}

/// All that is told.
struct Told {
    store: String,
    trail: Trail,
    against: Option<(String, Copy, Compared)>,
    now: Timestamp,
}

pub(super) async fn run(global: &Global, args: &History, around: &mut Surroundings) -> Result<Exit> {
    let by_arn = args.resource.as_deref().is_some_and(|text| text.starts_with("arn:"));
    let deployed = deployed(global)?;
    let reach = if deployed || by_arn { Some(Reach::new(global, around).await?) } else { None };
    let wanted = wanted(args, reach.as_ref()).await?;
    // Read first: a long look at a table is not to end in a file's wrong name.
    let copy = args.against.as_deref().map(load).transpose()?;

    let (name, mut trail) = match store(global, reach.as_ref().map(|reach| &reach.aws), Use::Read) {
        Ok((store, _)) => (store.name(), Trail::of(&*store).await?),
        Err(failure) if !deployed && failure.exit == Exit::Input => match directory(global) {
            // A file that is damaged keeps a store from being used, not its records from being looked at.
            Some(dir) if dir.exists() => (dir.display().to_string(), damaged(&dir, failure)?),
            _ => return Err(failure),
        },
        Err(failure) => return Err(failure),
    };
    let all = matches!(wanted, Wanted::All);
    if !all {
        trail.narrow(|id, run| wanted.run(id, run.records.values().map(|(record, _)| Lent(record))));
        if let Wanted::Run(run) = &wanted {
            trail.faults.retain(|fault| fault.run.as_ref().is_none_or(|other| other == run));
        }
    }
    let now = Timestamp::now();
    let against = copy.map(|(path, mut copy)| {
        if !all {
            // A run that was written anew may name another resource in the copy than in the store.
            let held: BTreeSet<String> = trail.runs.keys().cloned().collect();
            copy.narrow(|id, records| {
                held.contains(id) || wanted.run(id, records.iter().map(|record| Lent(record)))
            });
        }
        let days = args.retention.map_or(global.retention_days, u32::from);
        let retention = deployed.then_some(Retention { days, now });
        let compared = copy.compare(&trail, retention);
        (path, copy, compared)
    });
    if let Wanted::Run(run) = &wanted {
        let known = trail.runs.contains_key(run)
            || against.as_ref().is_some_and(|(_, copy, _)| copy.runs.contains_key(run));
        let named = trail.faults.iter().any(|fault| fault.run.as_ref() == Some(run));
        if !known && !named {
            return Err(Failure::input(format!(
                "there is no run `{}` in {}",
                shown(run),
                text::whole(&name)
            )));
        }
    }
    let told = Told { store: name, trail, against, now };
    let paint = paint(global, around);
    match global.format {
        Format::Json => json::print(&mut around.out, &told.document())?,
        Format::Text => told.print(&mut around.out, paint)?,
    }
    Ok(if told.faults().is_empty() { Exit::Done } else { Exit::Failed })
}

async fn wanted(args: &History, reach: Option<&Reach>) -> Result<Wanted> {
    Ok(match (&args.run, &args.resource, &args.finding, &args.account) {
        (Some(run), ..) => Wanted::Run(run.clone()),
        (None, Some(resource), ..) => {
            let (account, region) = match reach {
                Some(reach) if resource.starts_with("arn:") => {
                    (reach.caller().await?.account, reach.region.clone())
                }
                _ => (String::new(), String::new()),
            };
            Wanted::Resource(keys(resource, &account, &region)?)
        }
        (None, None, Some(finding), _) => Wanted::Finding(finding.clone()),
        (None, None, None, Some(id)) => {
            Wanted::Account(account(id).map_err(|failure| failure.context("--account"))?.to_owned())
        }
        (None, None, None, None) => Wanted::All,
    })
}

fn load(path: &Path) -> Result<(String, Copy)> {
    let copy = Copy::load(path).map_err(|error| Failure::from(error).context("--against"))?;
    if copy.records() == 0 {
        let why = format!(
            "--against: no record in {}: is it the dispatcher's log, or the archive?",
            text::whole(&path.display().to_string())
        );
        return Err(Failure::input(why));
    }
    Ok((path.display().to_string(), copy))
}

/// The records of a folder that can't be opened as a store.
fn damaged(dir: &Path, failure: Failure) -> Result<Trail> {
    let mut trail = Trail::read(file::rows(dir)?);
    trail.faults.push(Fault { run: None, record: None, what: failure.message });
    Ok(trail)
}

impl Told {
    /// What does not fit, of the store alone and against the copy.
    fn faults(&self) -> BTreeSet<&Fault> {
        let against = self.against.iter().flat_map(|(_, _, compared)| &compared.faults);
        self.trail.faults.iter().chain(against).collect()
    }

    fn broken(&self) -> usize {
        self.faults().iter().filter_map(|fault| fault.run.as_ref()).collect::<BTreeSet<_>>().len()
    }

    fn records(&self) -> usize {
        self.trail.runs.values().map(|run| run.records.len()).sum()
    }

    /// Runs whose last record is still to come.
    fn open(&self) -> Vec<(&String, &Run)> {
        let faults = self.faults();
        let is_broken = |id: &String| faults.iter().any(|fault| fault.run.as_ref() == Some(id));
        self.trail.runs.iter().filter(|(id, run)| !run.ended() && !is_broken(id)).collect()
    }

    fn lease(&self, run: &Run) -> &'static str {
        match run.lease {
            Some(until) if until > self.now => "alive",
            Some(_) => "ended",
            None => "unknown",
        }
    }

    fn document(&self) -> Value {
        let last = |run: &Run| run.records.last_key_value().map(|(_, (record, _))| record.clone());
        let open: Vec<Value> = self
            .open()
            .into_iter()
            .map(|(id, run)| {
                let last = last(run);
                json!({
                    "run": id,
                    "records": run.records.len(),
                    "time": last.as_ref().map(|record| record.time),
                    "stage": last.as_ref().map(|record| record.stage),
                    "lease": self.lease(run),
                    "until": run.lease,
                })
            })
            .collect();
        let against = self.against.as_ref().map(|(path, copy, compared)| {
            json!({
                "path": path,
                "files": copy.files,
                "records": copy.records(),
                "from": copy.span.map(|(from, _)| from),
                "to": copy.span.map(|(_, to)| to),
                "other_lines": copy.other,
                "unreadable_lines": copy.garbage,
                "unreadable_at": copy.garbage_at,
                "agreeing": compared.agreeing,
                "outside": compared.outside,
                "expired": compared.expired,
                "unconfirmed": compared.unconfirmed.iter()
                    .map(|(run, caller)| json!({ "run": run, "caller": caller })).collect::<Vec<_>>(),
            })
        });
        let faults: Vec<Value> = self
            .faults()
            .iter()
            .map(|fault| json!({ "run": fault.run, "record": fault.record, "what": fault.what }))
            .collect();
        json!({
            "schema": "redress.history-verify/1",
            "store": self.store,
            "runs": self.trail.runs.len(),
            "records": self.records(),
            "broken": self.broken(),
            "faults": faults,
            "open": open,
            "against": against,
        })
    }

    fn print(&self, out: &mut dyn std::io::Write, paint: Paint) -> std::io::Result<()> {
        let faults = self.faults();
        for fault in &faults {
            let run =
                fault.run.as_deref().map_or("unknown run".to_owned(), |run| format!("run {}", shown(run)));
            let record = fault.record.map(|record| format!(" record {record}")).unwrap_or_default();
            let what = text::whole(&fault.what);
            writeln!(out, "{}: {run}{record}: {what}", text::word(paint, "failed"))?;
        }
        let open = self.open();
        for (id, run) in &open {
            let (until, now) = (run.lease, self.now);
            let lease = match until {
                Some(until) if until > now => format!("its lease is alive until {until}"),
                Some(until) => format!("its lease has run out at {until}: `redress recover` settles it"),
                None => "whether it has a lease can't be told".to_owned(),
            };
            writeln!(out, "open: run {}: its last record is still to come; {lease}", shown(id))?;
        }
        if let Some((path, copy, compared)) = &self.against {
            for (run, caller) in &compared.unconfirmed {
                let (run, caller) = (shown(run), text::whole(caller));
                writeln!(
                    out,
                    "unconfirmed: run {run} of {caller}: the copy does not hold runs of the command line"
                )?;
            }
            let (from, to) = copy.span.unwrap_or_default();
            let many = counted(copy.records(), "record");
            writeln!(out, "Against {}: {many} from {from} to {to}.", text::whole(path))?;
            writeln!(
                out,
                "  {} agree; {} outside this time not compared; {} expired; {} passed over.",
                counted(compared.agreeing, "record"),
                counted(compared.outside, "record"),
                counted(compared.expired, "run"),
                counted(copy.other, "other line"),
            )?;
            if copy.garbage > 0 {
                let lines = counted(copy.garbage, "line");
                let at = text::whole(&copy.garbage_at.join(", "));
                let more = if copy.garbage > copy.garbage_at.len() { ", …" } else { "" };
                writeln!(out, "  {lines} can't be read: {at}{more}")?;
            }
        }
        let (broken, unknown) = (self.broken(), faults.iter().filter(|fault| fault.run.is_none()).count());
        let stray = match unknown {
            0 => String::new(),
            more => format!(", {} of no known run", counted(more, "more fault")),
        };
        let unconfirmed = self.against.as_ref().map_or(0, |(_, _, compared)| compared.unconfirmed.len());
        let unconfirmed =
            if unconfirmed > 0 { format!(", {unconfirmed} unconfirmed") } else { String::new() };
        let line = format!(
            "{}, {} in {}: {broken} broken{stray}, {} open{unconfirmed}.",
            counted(self.trail.runs.len(), "run"),
            counted(self.records(), "record"),
            text::whole(&self.store),
            open.len(),
        );
        writeln!(out, "{}", paint.bold(&line))?;
        if self.against.is_none() {
            writeln!(out, "{ALONE}")?;
        }
        Ok(())
    }
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
