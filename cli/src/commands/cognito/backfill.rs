//! `redress cognito backfill`: a row of the activity table for every user who has none.
//!
//! It can be broken off and run again: a row that is there is never written over, so that a sign-in wins, and
//! the place it had come to is kept in the state directory.

use std::{
    collections::HashSet,
    fs,
    io::{ErrorKind as Io, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_sdk_dynamodb::types::KeysAndAttributes;
use indicatif::ProgressBar;
use jiff::{SignedDuration, Timestamp};
use redress_activity::row::{self, AUTH_EVENT, CREATED, Phase, Row};
use redress_remediators::Error;
use redress_router::{
    activity::{ActivityTable, PutBack},
    audit::sha256,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    activity, failed, pool,
    users::{Pool, SignIns, User, first_alarm, schedule},
};
use crate::{
    Surroundings,
    args::{Backfill, Format, Global},
    context::{Context, Use, directory, paint},
    exit::{Exit, Failure, Result},
    output::{json, progress, text},
    plan_file,
};

/// Rows written at once; a page of users has 60.
const AT_ONCE: usize = 12;

/// How often keys that a batch left unread are asked for again.
const BATCH_TRIES: u32 = 8;

pub(crate) async fn run(global: &Global, args: &Backfill, around: &mut Surroundings) -> Result<Exit> {
    let context = Context::new(global, around, if args.apply { Use::Write } else { Use::Look }).await?;
    let table = activity(&context)?;
    for id in &args.pools {
        pool(id, &context.reach.region)?;
    }
    let mut exit = Exit::Done;
    let mut all = Vec::new();
    for id in &args.pools {
        let place = directory(global).map(|dir| dir.join("cognito").join(format!("backfill-{id}.json")));
        let work = Work {
            pool: Pool::new(&context, id),
            table: Arc::clone(&table),
            table_name: global.activity_table.clone().unwrap_or_default(),
            args,
            place: place.filter(|_| args.apply),
            now: Timestamp::now(),
        };
        let bar = progress(around, None, "listing users");
        let done = work.run(&bar).await;
        bar.finish_and_clear();
        let counts = done.map_err(|failure| failure.context(id))?;
        if counts.unreadable + counts.failed > 0 {
            exit = Exit::Failed;
        }
        if global.format == Format::Text {
            counts.print(around, global, id, args.apply)?;
        }
        all.push(json!({ "pool": id, "counts": counts }));
    }
    if global.format == Format::Json {
        let document = json!({
            "schema": "redress.cognito-backfill/1",
            "written": args.apply,
            "spread_days": args.spread,
            "pools": all,
        });
        json::print(&mut around.out, &document)?;
    }
    Ok(exit)
}

/// How many users there were of each kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Counts {
    /// All that were listed.
    users: usize,
    /// With a row already, also one that a sign-in wrote meanwhile.
    tracked: usize,
    /// A row is made from the last sign-in that Cognito knows of.
    from_sign_ins: usize,
    /// A row is made from the day of the user's creation.
    from_creation: usize,
    /// A row is made that never rings: the user is disabled.
    disabled: usize,
    /// Of the new rows those whose time had come already; spread over the days that were asked for.
    spread: usize,
    /// Without anything that a row could be made of.
    unreadable: usize,
    /// Rows that could not be written.
    failed: usize,
    /// The pool has no threat protection, so Cognito knows of no sign-ins.
    sign_ins_not_kept: bool,
}

/// How far an earlier backfill has come.
#[derive(Serialize, Deserialize)]
struct Place {
    table: String,
    spread_days: u16,
    next: String,
    counts: Counts,
}

/// A row to be written.
struct New {
    row: Row,
    /// Whether its time had come already.
    late: bool,
}

struct Work<'a> {
    pool: Pool<'a>,
    table: Arc<ActivityTable>,
    table_name: String,
    args: &'a Backfill,
    place: Option<PathBuf>,
    now: Timestamp,
}

impl Work<'_> {
    async fn run(&self, bar: &ProgressBar) -> Result<Counts> {
        let (mut token, mut counts) = self.begin()?;
        loop {
            let page = self.pool.page(token.as_deref()).await.map_err(|failure| match &token {
                Some(_) if self.args.resume => failure.context(
                    "the place that was kept may be too old: run it without --resume, what was written stays",
                ),
                _ => failure,
            })?;
            counts.users += page.users.len() + page.unreadable;
            counts.unreadable += page.unreadable;
            self.page(page.users, &mut counts).await?;
            bar.set_message(format!("listing users: {}", counts.users));
            bar.inc(1);
            let Some(next) = page.next else { break };
            self.keep(&next, &counts)?;
            token = Some(next);
        }
        if let Some(place) = &self.place {
            remove(place)?;
        }
        Ok(counts)
    }

    /// Where to begin: at the first page, or where an earlier backfill with the same aim was broken off.
    fn begin(&self) -> Result<(Option<String>, Counts)> {
        let Some(path) = self.place.as_ref().filter(|_| self.args.resume) else {
            return Ok((None, Counts::default()));
        };
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == Io::NotFound => return Ok((None, Counts::default())),
            Err(error) => return Err(Failure::from(error).context(&path.display().to_string())),
        };
        let place: Place = serde_json::from_slice(&text)
            .map_err(|error| Failure::input(format!("{}: {error}", path.display())))?;
        if place.table != self.table_name || place.spread_days != self.args.spread {
            return Err(Failure::input(
                "the backfill that was broken off had another table or --spread: run it without --resume",
            ));
        }
        Ok((Some(place.next), place.counts))
    }

    fn keep(&self, next: &str, counts: &Counts) -> Result<()> {
        let Some(path) = &self.place else { return Ok(()) };
        let place = Place {
            table: self.table_name.clone(),
            spread_days: self.args.spread,
            next: next.to_owned(),
            counts: counts.clone(),
        };
        let text = serde_json::to_string(&place).map_err(std::io::Error::other)?;
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        // Whole or not at all.
        let new = path.with_extension("new");
        plan_file::private(&new, &text)?;
        fs::rename(&new, path)?;
        Ok(())
    }

    async fn page(&self, users: Vec<User>, counts: &mut Counts) -> Result<()> {
        let known = self.known(&users).await?;
        let mut rows = Vec::new();
        for user in users {
            if known.contains(&user.sub) {
                counts.tracked += 1;
                continue;
            }
            match self.row(&user, counts).await? {
                Some(row) => rows.push(row),
                None => counts.unreadable += 1,
            }
        }
        if self.args.apply {
            self.write(rows, counts).await?;
        } else {
            for new in &rows {
                counts.add(new);
            }
        }
        Ok(())
    }

    /// Those of the users who have a row. Eventually consistent: the write looks again.
    async fn known(&self, users: &[User]) -> Result<HashSet<String>> {
        let client = aws_sdk_dynamodb::Client::new(&self.pool.context.reach.aws);
        let mut known = HashSet::new();
        let mut keys: Vec<_> = users.iter().map(|user| Row::key(self.pool.id, &user.sub)).collect();
        let mut tried = 0;
        while !keys.is_empty() {
            let asked = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .projection_expression("#sub")
                .expression_attribute_names("#sub", row::SUB)
                .build()
                .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
            let found = client.batch_get_item().request_items(&self.table_name, asked).send().await;
            let found = found.map_err(|error| failed(error, "the activity table"))?;
            for item in found.responses.unwrap_or_default().into_values().flatten() {
                if let Some(sub) = item.get(row::SUB).and_then(|sub| sub.as_s().ok()) {
                    known.insert(sub.clone());
                }
            }
            let left = found.unprocessed_keys.unwrap_or_default().into_values();
            keys = left.flat_map(|left| left.keys).collect();
            if !keys.is_empty() {
                tried += 1;
                if tried > BATCH_TRIES {
                    let why = "the activity table has no capacity left to be read";
                    return Err(Failure::new(Exit::Failed, why));
                }
                tokio::time::sleep(std::time::Duration::from_millis(50 << tried)).await;
            }
        }
        Ok(known)
    }

    /// The row of a user: its activity as far as anybody knows it.
    async fn row(&self, user: &User, counts: &mut Counts) -> Result<Option<New>> {
        let sign_in = if self.args.auth_events && !counts.sign_ins_not_kept && user.enabled {
            match self.pool.last_sign_in(&user.name).await? {
                SignIns::Kept(last) => last,
                SignIns::NotKept => {
                    counts.sign_ins_not_kept = true;
                    None
                }
            }
        } else {
            None
        };
        let (trigger, seen) = match (sign_in, user.created) {
            (Some(seen), _) => (AUTH_EVENT, seen),
            (None, Some(created)) => (CREATED, created),
            (None, None) => return Ok(None),
        };
        let mut row = Row::seen(self.pool.id, &user.sub, &user.name, trigger, seen);
        row.signed_in = sign_in.is_some();
        if !user.enabled {
            row.phase = Some(Phase::DisabledElsewhere);
            return Ok(Some(New { row, late: false }));
        }
        let Some((_, policy)) = self.pool.policy(&row, self.now)? else {
            return Err(Failure::input(format!(
                "no rule is for inactive users of the pool `{}`: without one, nothing would become of its rows",
                self.pool.id
            )));
        };
        let alarm = first_alarm(&schedule(&policy, &row, self.now));
        let late = alarm <= self.now;
        let alarm = if late { spread(&user.sub, self.now, self.args.spread) } else { alarm };
        row.ttl = Some(alarm.as_second());
        Ok(Some(New { row, late }))
    }

    async fn write(&self, rows: Vec<New>, counts: &mut Counts) -> Result<()> {
        let mut rows = rows.into_iter();
        let mut tasks: JoinSet<(New, Result<PutBack, Error>)> = JoinSet::new();
        loop {
            while tasks.len() < AT_ONCE
                && let Some(new) = rows.next()
            {
                let table = Arc::clone(&self.table);
                tasks.spawn(async move {
                    let put = table.put_back(&new.row).await;
                    (new, put)
                });
            }
            let Some(done) = tasks.join_next().await else { return Ok(()) };
            let (new, put) = done.map_err(|error| std::io::Error::other(error.to_string()))?;
            match put {
                Ok(PutBack::Done) => counts.add(&new),
                Ok(PutBack::Exists(_)) => counts.tracked += 1,
                // Nobody's row is worth giving up all the others for, unless it is the same with each.
                Err(error) if counts.failed < AT_ONCE => {
                    tracing::debug!(%error, "a row could not be written");
                    counts.failed += 1;
                }
                Err(error) => return Err(failed(error, "rows can't be written")),
            }
        }
    }
}

impl Counts {
    /// Counts a new row.
    fn add(&mut self, new: &New) {
        match (new.row.phase, new.row.signed_in) {
            (Some(_), _) => self.disabled += 1,
            (None, true) => self.from_sign_ins += 1,
            (None, false) => self.from_creation += 1,
        }
        self.spread += usize::from(new.late);
    }

    fn print(&self, around: &mut Surroundings, global: &Global, id: &str, written: bool) -> Result<()> {
        let paint = paint(global, around);
        let out = &mut around.out;
        writeln!(out, "{}", paint.bold(&format!("Pool {}", text::whole(id))))?;
        let mut line = |count: usize, what: &str| match count {
            0 => Ok(()),
            count => writeln!(out, "{count:>9}  {what}"),
        };
        line(self.users, "users listed")?;
        line(self.tracked, "have a row already, which stays as it is")?;
        let new = if written { "new rows" } else { "rows would be made" };
        line(self.from_sign_ins, &format!("{new} from the last sign-in that Cognito knows of"))?;
        line(self.from_creation, &format!("{new} from the day of the user's creation: no sign-in is known"))?;
        line(self.disabled, &format!("{new} of users who are disabled already; they never ring"))?;
        line(self.spread, "of the new ones had their time already, and are spread over the days to come")?;
        line(self.unreadable, "users of whom no row can be made")?;
        line(self.failed, "rows could not be written: run it again")?;
        if self.sign_ins_not_kept {
            writeln!(
                out,
                "The pool has no threat protection, so Cognito keeps no sign-ins: the days of creation were taken."
            )?;
        }
        if !written {
            writeln!(out, "Nothing was written: --apply writes the rows.")?;
        }
        Ok(())
    }
}

/// A time within the next `days`, the same for a user at every call of the same moment.
fn spread(sub: &str, now: Timestamp, days: u16) -> Timestamp {
    let hash = u64::from_str_radix(sha256(sub).get(..12).unwrap_or_default(), 16).unwrap_or_default();
    let seconds = (hash % 86_400_000).saturating_mul(u64::from(days)) / 1_000;
    let later = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or_default());
    now.saturating_add(later).unwrap_or(now)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != Io::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn who_is_late_is_spread_evenly() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let mut by_day = [0_u32; 10];
        for n in 0..10_000 {
            let sub = format!("0b7d5c1e-6a2f-4c55-9c3e-{n:012}");
            let at = spread(&sub, now, 10);
            assert_eq!(at, spread(&sub, now, 10));
            let day = usize::try_from(at.duration_since(now).as_hours() / 24).unwrap();
            by_day[day] += 1;
        }
        assert!(by_day.iter().all(|count| (850..1150).contains(count)), "{by_day:?}");
        assert_eq!(spread("x", now, 0), now);
    }
}
