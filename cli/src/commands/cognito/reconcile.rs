//! `redress cognito reconcile`: sign-ins that the recorder could not write down are taken from its log.
//!
//! Until a day's lost sign-ins are accounted for, nobody is disabled whose time rests on it. A day is accounted
//! for when at least as many lines were read as CloudWatch has counted, and something was made of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
};

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use redress_activity::{
    loss::{DIMENSION, Loss, METRIC},
    row::{Phase, Row},
};
use redress_remediators::ErrorKind;
use redress_router::{
    activity::{ActivityTable, PutBack},
    audit::Verb,
    control::INACTIVE_USER,
    event::MAX_INPUT,
    losses::{Accounted, Day, day_of, start_of},
};
use serde_json::{Value, json};

use super::{
    activity, failed, pool,
    users::{Pool, is_sub},
};
use crate::{
    Surroundings,
    args::{Format, Global, Reconcile},
    commands::{ask, asks_nothing_in_json, entries, of, undo},
    context::{Context, Use, paint},
    exit::{Exit, Failure, Result},
    input,
    output::{self, Entry, json, progress},
    work::{self, Item, Job},
};

/// How far back lost sign-ins are looked for: as far as CloudWatch keeps them.
const FARTHEST: SignedDuration = SignedDuration::from_hours(24 * 455);

/// How long after a sign-in its line may be in the log.
const LATE: SignedDuration = SignedDuration::from_mins(15);

/// How often a row is read again that sign-ins keep changing.
const TRIES: usize = 5;

pub(crate) async fn run(global: &Global, args: &Reconcile, around: &mut Surroundings) -> Result<Exit> {
    asks_nothing_in_json(global, args.yes || args.dry_run)?;
    let context = Context::new(global, around, if args.dry_run { Use::Look } else { Use::Write }).await?;
    let table = activity(&context)?;
    let id = pool(&args.pool, &context.reach.region)?;
    let now = Timestamp::now();
    let span = Span::new(args, now)?;
    let days = table.losses().days(id, span.from).await?;
    let days: Vec<Day> = days.into_iter().filter(|day| day.is_open() && span.holds_day(day.day)).collect();
    let work = Work { pool: Pool::new(&context, id), table: &table, global, args, now };
    if args.waive {
        return work.waive(days, around).await;
    }
    let read = work.read(&span, &days, around).await?;
    work.reconcile(days, read, around).await
}

/// The time that is looked at.
struct Span {
    from: Timestamp,
    /// Exclusive.
    until: Timestamp,
}

impl Span {
    fn new(args: &Reconcile, now: Timestamp) -> Result<Self> {
        let start = |day: Date| {
            let start = day.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp());
            start.map_err(|error| Failure::input(error.to_string()))
        };
        let farthest = now.saturating_sub(FARTHEST).unwrap_or(Timestamp::MIN);
        Ok(match (args.day, args.since) {
            (Some(day), _) => {
                let end = day.tomorrow().map_err(|error| Failure::input(error.to_string()))?;
                Self { from: start(day)?, until: start(end)? }
            }
            (None, Some(since)) => Self { from: start(since)?, until: now },
            (None, None) => Self { from: farthest, until: now },
        })
    }

    fn holds(&self, at: Timestamp) -> bool {
        (self.from..self.until).contains(&at)
    }

    fn holds_day(&self, day: Date) -> bool {
        day >= day_of(self.from) && start_of(day) < self.until
    }
}

/// What the log says.
#[derive(Default)]
struct Read {
    /// Lost sign-ins, each once: by user, time and trigger.
    losses: BTreeMap<(String, Timestamp, String), Loss>,
    /// Lines that tell of a lost sign-in nobody can have had.
    odd: BTreeSet<(String, Timestamp)>,
}

impl Read {
    fn line(&mut self, line: &str, pool: &Pool<'_>, span: &Span) {
        let Some(loss) = Loss::read(line) else { return };
        if loss.pool != pool.id {
            return;
        }
        // A time to come would keep a user active for as long as it says.
        if !is_sub(&loss.sub) || loss.at > Timestamp::now() {
            self.odd.insert((loss.sub, loss.at));
        } else if span.holds(loss.at) {
            self.losses.insert((loss.sub.clone(), loss.at, loss.trigger.clone()), loss);
        }
    }

    fn by_day(&self) -> BTreeMap<Date, u64> {
        let mut days = BTreeMap::new();
        for loss in self.losses.values() {
            *days.entry(day_of(loss.at)).or_default() += 1;
        }
        days
    }

    /// The last of each user's lost sign-ins.
    fn by_user(&self) -> BTreeMap<String, Loss> {
        let mut users: BTreeMap<String, Loss> = BTreeMap::new();
        for loss in self.losses.values() {
            match users.get(&loss.sub) {
                Some(known) if known.at >= loss.at => {}
                _ => drop(users.insert(loss.sub.clone(), loss.clone())),
            }
        }
        users
    }
}

/// What is to be done about one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The row is as young as the lost sign-in, or younger.
    Nothing,
    /// The row is written forward, or made.
    Forward,
    /// Redress has disabled the user, who had signed in: it is enabled again.
    Restore,
}

#[derive(Default)]
struct Done {
    forwarded: usize,
    restored: Vec<Item>,
    /// Users of whom nothing could be made.
    failed: BTreeSet<String>,
}

struct Work<'a> {
    pool: Pool<'a>,
    table: &'a ActivityTable,
    global: &'a Global,
    args: &'a Reconcile,
    now: Timestamp,
}

impl Work<'_> {
    async fn waive(&self, days: Vec<Day>, around: &mut Surroundings) -> Result<Exit> {
        let reason = self.args.reason.clone().unwrap_or_default();
        let count: u64 = days.iter().map(|day| day.lost).sum();
        let text = self.global.format == Format::Text;
        if text {
            for day in &days {
                writeln!(around.out, "{}  {} lost sign-ins", day.day, day.lost)?;
            }
        }
        let question = format!(
            "Waive {count} lost sign-ins of {} days? Users who had signed in then may be disabled.",
            days.len()
        );
        let write = !days.is_empty() && !self.args.dry_run;
        if write && !ask(around, &question, self.args.yes)? {
            writeln!(around.out, "Nothing was changed.")?;
            return Ok(Exit::Refused);
        }
        if write {
            for day in &days {
                self.account(day.day, day.lost, Some(reason.clone())).await?;
            }
        }
        let outcome = if write { "waived" } else { "open" };
        if text {
            let said = match (days.is_empty(), write) {
                (true, _) => "Nothing to do: all lost sign-ins are accounted for.",
                (false, true) => "Waived.",
                (false, false) => "Nothing was written.",
            };
            writeln!(around.out, "{said}")?;
        } else {
            let days: Vec<Value> = days.iter().map(|day| told(day, None, outcome)).collect();
            self.print(&days, &Read::default(), &Done::default(), around)?;
        }
        Ok(Exit::Done)
    }

    async fn account(&self, day: Date, lost: u64, waived: Option<String>) -> Result<()> {
        let by = self.pool.context.caller.arn.clone();
        let accounted = Accounted { lost, by, at: self.now, waived };
        Ok(self.table.losses().account_for(self.pool.id, day, &accounted).await?)
    }

    async fn read(&self, span: &Span, days: &[Day], around: &mut Surroundings) -> Result<Read> {
        let mut read = Read::default();
        if let Some(path) = &self.args.log {
            let bytes = input::bytes(path, around)?;
            if bytes.len() > MAX_INPUT {
                return Err(Failure::input(format!(
                    "{}: it is too large: cut it up by days",
                    input::name(path)
                )));
            }
            let text = String::from_utf8_lossy(&bytes);
            for line in lines(&text) {
                read.line(&line, &self.pool, span);
            }
            return Ok(read);
        }
        let Some(group) = &self.args.log_group else {
            return Err(Failure::input("where is the recorder's log? Give --log-group or --log"));
        };
        // What is asked of the log is paid by what it holds: only the days that are open are.
        let bar = progress(around, None, "reading the recorder's log");
        let client = aws_sdk_cloudwatchlogs::Client::new(&self.pool.context.reach.aws);
        for day in days {
            let start = start_of(day.day);
            let end = start.saturating_add(SignedDuration::from_hours(24) + LATE).unwrap_or(span.until);
            let mut pages = client
                .filter_log_events()
                .log_group_name(group)
                .start_time(start.as_millisecond())
                .end_time(end.as_millisecond())
                .filter_pattern(format!("{{ ($.{DIMENSION} = \"{}\") && ($.{METRIC} = 1) }}", self.pool.id))
                .into_paginator()
                .send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| failed(error, "FilterLogEvents"))?;
                for event in page.events() {
                    read.line(event.message().unwrap_or_default(), &self.pool, span);
                }
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        Ok(read)
    }

    async fn reconcile(&self, days: Vec<Day>, read: Read, around: &mut Surroundings) -> Result<Exit> {
        let users = read.by_user();
        let mut steps = BTreeMap::new();
        for loss in users.values() {
            let step = match self.table.row(self.pool.id, &loss.sub).await {
                Ok(row) => step(row.as_ref(), loss),
                // It will be told when it is tried; the others need not wait for it.
                Err(error) if error.kind == ErrorKind::Invalid => Step::Forward,
                Err(error) => return Err(error.into()),
            };
            steps.insert(loss.sub.clone(), step);
        }
        let count = |wanted: Step| steps.values().filter(|step| **step == wanted).count();
        let (forward, restore) = (count(Step::Forward), count(Step::Restore));
        let text = self.global.format == Format::Text;
        if text {
            let out = &mut around.out;
            writeln!(out, "{} lost sign-ins of {} users were read.", read.losses.len(), users.len())?;
            writeln!(out, "{forward:>9}  users' rows are older, and are written forward")?;
            writeln!(
                out,
                "{restore:>9}  users were disabled although they had signed in, and are enabled again"
            )?;
            if !read.odd.is_empty() {
                writeln!(
                    out,
                    "{:>9}  lines tell of no user or of a time to come, and are left out",
                    read.odd.len()
                )?;
            }
        }
        if days.is_empty() && forward + restore == 0 {
            return self.end(&days, &read, &Done::default(), true, around).await;
        }
        if self.args.dry_run {
            return self.end(&days, &read, &Done::default(), false, around).await;
        }
        if !ask(around, "Write this, and account for the days that are complete?", self.args.yes)? {
            writeln!(around.out, "Nothing was changed.")?;
            return Ok(Exit::Refused);
        }
        let mut done = Done::default();
        for (sub, step) in &steps {
            let Some(loss) = users.get(sub).filter(|_| *step != Step::Nothing) else { continue };
            match self.forward(loss).await {
                Ok(true) => done.forwarded += 1,
                Ok(false) => {}
                Err(failure) => {
                    writeln!(around.err, "redress: {sub}: {}", failure.message)?;
                    done.failed.insert(sub.clone());
                }
            }
        }
        let disabled: Vec<&String> =
            steps.iter().filter(|(_, step)| **step == Step::Restore).map(|(sub, _)| sub).collect();
        self.restore(&disabled, &mut done, around).await?;
        self.end(&days, &read, &done, true, around).await
    }

    /// Writes a user's row forward to a lost sign-in, unless it is younger. Who is disabled stays so for now.
    async fn forward(&self, loss: &Loss) -> Result<bool> {
        for _ in 0..TRIES {
            let before = self.table.row(self.pool.id, &loss.sub).await?;
            match before {
                None => {
                    let row = self.rings(moved(None, loss))?;
                    if self.table.put_back(&row).await? == PutBack::Done {
                        return Ok(true);
                    }
                }
                Some(before) if before.seen >= loss.at => return Ok(false),
                Some(before) => {
                    let after = moved(Some(&before), loss);
                    let after = if after.phase.is_none() { self.rings(after)? } else { after };
                    if self.table.replace(&before, &after).await? {
                        return Ok(true);
                    }
                }
            }
        }
        Err(Failure::new(Exit::Failed, "the row changes all the while"))
    }

    fn rings(&self, row: Row) -> Result<Row> {
        Ok(Row { ttl: Some(self.pool.alarm(&row, self.now)?.as_second()), ..row })
    }

    /// Enables users again by undoing the runs that disabled them.
    async fn restore(&self, subs: &[&String], done: &mut Done, around: &mut Surroundings) -> Result<()> {
        let context = self.pool.context;
        let mut given = Vec::new();
        for sub in subs {
            let key = self.pool.key(sub).to_string();
            if let Some(run) = undo::last(context, &key, Some(INACTIVE_USER)).await? {
                given.push(run);
            } else {
                let store = context.engine.store.name();
                writeln!(around.err, "redress: {sub}: {store} knows no run that disabled the user")?;
                done.failed.insert((*sub).clone());
            }
        }
        let look = Job::new(Verb::Undo, true, context, self.args.patience);
        let items = work::all(context, &look, &given, around).await?;
        let make = Job::new(Verb::Undo, false, context, self.args.patience);
        done.restored = work::agreed(context, &make, items, around).await?;
        for item in &done.restored {
            if output::exit(std::slice::from_ref(&item.entry)) != Exit::Done {
                let key = item.entry.resource.as_deref().unwrap_or_default();
                done.failed.extend(key.rsplit('/').next().map(ToOwned::to_owned));
            }
        }
        Ok(())
    }

    /// Accounts for the days that are complete, and says what was done.
    async fn end(
        &self,
        days: &[Day],
        read: &Read,
        done: &Done,
        write: bool,
        around: &mut Surroundings,
    ) -> Result<Exit> {
        let by_day = read.by_day();
        let of_failed = |day: Date| {
            read.losses.values().any(|loss| done.failed.contains(&loss.sub) && day_of(loss.at) == day)
        };
        let mut exit = if done.failed.is_empty() { Exit::Done } else { Exit::Failed };
        let mut told_days = Vec::new();
        let text = self.global.format == Format::Text;
        if text {
            entries(around, paint(self.global, around), &done.restored)?;
        }
        for day in days {
            let count = by_day.get(&day.day).copied().unwrap_or_default();
            let (outcome, said) = if count < day.lost {
                (
                    "incomplete",
                    "fewer lines than CloudWatch has counted: not accounted for (--waive --reason)",
                )
            } else if of_failed(day.day) {
                ("failed", "not all of its users could be looked after: not accounted for")
            } else if write {
                self.account(day.day, count, None).await?;
                ("reconciled", "accounted for")
            } else {
                ("open", "would be accounted for")
            };
            if !matches!(outcome, "reconciled" | "open") && write {
                exit = Exit::Failed;
            }
            if text {
                writeln!(around.out, "{}  {count} of {} lost sign-ins read: {said}", day.day, day.lost)?;
            }
            told_days.push(told(day, Some(count), outcome));
        }
        if text && days.is_empty() {
            writeln!(
                around.out,
                "No day is open: all lost sign-ins that CloudWatch has counted are accounted for."
            )?;
        }
        if !text {
            self.print(&told_days, read, done, around)?;
        }
        Ok(exit)
    }

    fn print(&self, days: &[Value], read: &Read, done: &Done, around: &mut Surroundings) -> Result<()> {
        let restored: Vec<Entry> = of(&done.restored);
        let document = json!({
            "schema": "redress.cognito-reconcile/1",
            "pool": self.pool.id,
            "caller": self.pool.context.caller.arn,
            "written": !self.args.dry_run,
            "read": read.losses.len(),
            "users": read.by_user().len(),
            "left_out": read.odd.len(),
            "forwarded": done.forwarded,
            "restored": restored,
            "failed": done.failed,
            "days": days,
        });
        Ok(json::print(&mut around.out, &document)?)
    }
}

fn told(day: &Day, read: Option<u64>, outcome: &str) -> Value {
    json!({ "day": day.day.to_string(), "lost": day.lost, "read": read, "outcome": outcome })
}

fn step(row: Option<&Row>, loss: &Loss) -> Step {
    match row {
        // Also where an earlier try has written the row forward and then failed.
        Some(row) if row.phase == Some(Phase::Disabled) && row.seen <= loss.at => Step::Restore,
        Some(row) if row.seen >= loss.at => Step::Nothing,
        Some(_) | None => Step::Forward,
    }
}

/// A row as the recorder would have written it.
fn moved(before: Option<&Row>, loss: &Loss) -> Row {
    let new = Row::seen(&loss.pool, &loss.sub, "", &loss.trigger, loss.at);
    let Some(before) = before else {
        return Row { username: None, signed_in: loss.signed_in, ..new };
    };
    let row = Row {
        seen: loss.at,
        seen_as: None,
        trigger: new.trigger,
        signed_in: before.signed_in || loss.signed_in,
        ..before.clone()
    };
    match row.phase {
        Some(Phase::Disabled | Phase::DisabledElsewhere) => row,
        _ => Row { phase: None, warned: None, ring: None, run: None, ..row },
    }
}

/// The lines of an exported log: as they are, or the messages of what `aws logs filter-log-events` prints.
fn lines(text: &str) -> Vec<std::borrow::Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct Page {
        events: Vec<Event>,
    }
    #[derive(serde::Deserialize)]
    struct Event {
        #[serde(default)]
        message: String,
    }
    match serde_json::from_str::<Page>(text) {
        Ok(page) => page.events.into_iter().map(|event| event.message.into()).collect(),
        Err(_) => text.lines().map(Into::into).collect(),
    }
}
