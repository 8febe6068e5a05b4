//! `redress cognito status`: how many users of a pool are where on the way.

use std::{
    collections::{BTreeSet, HashSet},
    io::Write as _,
};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use jiff::{SignedDuration, Timestamp};
use redress_activity::row::{self, Phase, Row};
use redress_router::losses::Day;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    activity, failed, pool,
    users::{Pool, schedule},
};
use crate::{
    Surroundings,
    args::{Format, Global, Status},
    context::{Context, Use, paint},
    exit::{Exit, Failure, Result},
    output::{json, progress, text},
};

pub(crate) async fn run(global: &Global, args: &Status, around: &mut Surroundings) -> Result<Exit> {
    let context = Context::new(global, around, Use::Look).await?;
    activity(&context)?;
    let table = Table {
        client: Client::new(&context.reach.aws),
        name: global.activity_table.clone().unwrap_or_default(),
    };
    for id in &args.pools {
        pool(id, &context.reach.region)?;
    }
    let ids = if args.pools.is_empty() { table.pools().await? } else { args.pools.iter().cloned().collect() };
    let mut exit = Exit::Done;
    let mut all = Vec::new();
    for id in &ids {
        let bar = progress(around, None, "reading the activity table");
        let found = of_pool(&context, &table, id, args.users).await;
        bar.finish_and_clear();
        let state = found.map_err(|failure| failure.context(id))?;
        if let Err(why) = &state.lost {
            writeln!(around.err, "redress: {id}: lost sign-ins can't be read: {}", why.message)?;
            exit = exit.and(why.exit);
        }
        all.push(state);
    }
    match global.format {
        Format::Json => {
            let pools: Vec<Value> = all.iter().map(State::json).collect();
            let document = json!({
                "schema": "redress.cognito-status/1",
                "region": context.reach.region,
                "table": table.name,
                "pools": pools,
            });
            json::print(&mut around.out, &document)?;
        }
        Format::Text if all.is_empty() => writeln!(around.out, "The activity table is empty.")?,
        Format::Text => {
            let paint = paint(global, around);
            for state in &all {
                writeln!(around.out, "{}", paint.bold(&format!("Pool {}", text::whole(&state.pool))))?;
                state.print(around)?;
            }
        }
    }
    Ok(exit)
}

/// What is known of one pool.
struct State {
    pool: String,
    /// The rules that decide about its users.
    rules: BTreeSet<String>,
    counts: Counts,
    /// The days with lost sign-ins that nobody has accounted for, or why they are not known.
    lost: Result<Vec<Day>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Counts {
    /// Users with a row.
    tracked: usize,
    /// Of these, users of whom no sign-in is known.
    never_signed_in: usize,
    /// Not disabled or exempt, and inactive by the rule of now.
    due_now: usize,
    /// The same, within the days to come.
    due_in_7_days: usize,
    due_in_30_days: usize,
    /// Users whose disabling was announced.
    warned: usize,
    /// Users whom redress has disabled, and others.
    disabled: usize,
    disabled_elsewhere: usize,
    /// Users whom the rules exempt.
    exempt: usize,
    /// Users for whom there is no rule.
    without_rule: usize,
    /// Rows that can't be read.
    unreadable: usize,
    /// All users that Cognito lists; those without a row; rows without a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    untracked: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<usize>,
}

async fn of_pool(context: &Context, table: &Table, id: &str, list: bool) -> Result<State> {
    let now = Timestamp::now();
    let pool = Pool::new(context, id);
    let mut state = State {
        pool: id.to_owned(),
        rules: BTreeSet::new(),
        counts: Counts::default(),
        lost: Ok(Vec::new()),
    };
    let mut subs = HashSet::new();
    let mut rows = table
        .client
        .query()
        .table_name(&table.name)
        .key_condition_expression("#pool = :pool")
        .expression_attribute_names("#pool", row::POOL)
        .expression_attribute_values(":pool", AttributeValue::S(id.to_owned()))
        .into_paginator()
        .items()
        .send();
    while let Some(item) = rows.next().await {
        let item = item.map_err(|error| failed(error, "the activity table"))?;
        match Row::read(&item) {
            Ok(row) => {
                let policy = pool.policy(&row, now)?;
                let due = policy.as_ref().map(|(_, policy)| schedule(policy, &row, now).due_at);
                state.rules.extend(policy.map(|(rule, _)| rule.to_owned()));
                state.counts.add(&row, due, now);
                if list {
                    subs.insert(row.sub);
                }
            }
            Err(_) => state.counts.unreadable += 1,
        }
    }
    if list {
        state.counts.compare(&pool, subs).await?;
    }
    // It goes back no farther than CloudWatch keeps them.
    state.lost = match activity(context)?.losses().days(id, Timestamp::MIN).await {
        Ok(days) => Ok(days.into_iter().filter(Day::is_open).collect()),
        Err(error) => Err(Failure::from(error)),
    };
    Ok(state)
}

impl Counts {
    fn add(&mut self, row: &Row, due: Option<Timestamp>, now: Timestamp) {
        self.tracked += 1;
        self.never_signed_in += usize::from(!row.signed_in);
        match row.phase {
            Some(Phase::Disabled) => return self.disabled += 1,
            Some(Phase::DisabledElsewhere) => return self.disabled_elsewhere += 1,
            Some(Phase::Exempt) => return self.exempt += 1,
            Some(Phase::Warned) => self.warned += 1,
            // A user who is due was announced as well, if its pool announces.
            Some(Phase::Due) => self.warned += usize::from(row.warned.is_some_and(|at| at >= row.since())),
            Some(Phase::NotYet) | None => {}
        }
        let Some(due) = due else { return self.without_rule += 1 };
        let within = |days: i64| {
            now.saturating_add(SignedDuration::from_hours(24 * days)).is_ok_and(|until| due <= until)
        };
        if due <= now {
            self.due_now += 1;
            return;
        }
        self.due_in_7_days += usize::from(within(7));
        self.due_in_30_days += usize::from(within(30));
    }

    async fn compare(&mut self, pool: &Pool<'_>, mut subs: HashSet<String>) -> Result<()> {
        let (mut users, mut untracked) = (0, 0);
        let mut token: Option<String> = None;
        loop {
            let page = pool.page(token.as_deref()).await?;
            users += page.users.len() + page.unreadable;
            untracked += page.users.iter().filter(|user| !subs.remove(&user.sub)).count();
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        (self.users, self.untracked, self.gone) = (Some(users), Some(untracked), Some(subs.len()));
        Ok(())
    }
}

impl State {
    fn json(&self) -> Value {
        let lost = self.lost.as_ref().ok().map(|days| {
            let day = |day: &Day| json!({ "day": day.day.to_string(), "lost": day.lost });
            days.iter().map(day).collect::<Vec<_>>()
        });
        json!({ "pool": self.pool, "rules": self.rules, "counts": self.counts, "lost_sign_ins": lost })
    }

    fn print(&self, around: &mut Surroundings) -> Result<()> {
        let out = &mut around.out;
        let Counts { tracked, never_signed_in, due_now, due_in_7_days, due_in_30_days, .. } = self.counts;
        let Counts { warned, disabled, disabled_elsewhere, exempt, without_rule, unreadable, .. } =
            self.counts;
        let rules: Vec<String> = self.rules.iter().map(|rule| text::whole(rule)).collect();
        if !rules.is_empty() {
            writeln!(out, "  rules      {}", rules.join(", "))?;
        }
        for (count, what, always) in [
            (tracked, "users are tracked", true),
            (never_signed_in, "of them have never signed in, as far as is known", true),
            (due_now, "are inactive now", true),
            (due_in_7_days, "will be within 7 days", true),
            (due_in_30_days, "will be within 30 days", true),
            (warned, "were announced to be disabled", true),
            (disabled, "were disabled by redress", true),
            (disabled_elsewhere, "were disabled by somebody else", true),
            (exempt, "are exempt", true),
            (without_rule, "have no rule", false),
            (unreadable, "rows can't be read", false),
            (self.counts.users.unwrap_or_default(), "users are in the pool", self.counts.users.is_some()),
            (
                self.counts.untracked.unwrap_or_default(),
                "of them are not tracked (redress cognito backfill)",
                self.counts.users.is_some(),
            ),
            (
                self.counts.gone.unwrap_or_default(),
                "rows are of users who are gone",
                self.counts.users.is_some(),
            ),
        ] {
            if always || count > 0 {
                writeln!(out, "{count:>9}  {what}")?;
            }
        }
        match &self.lost {
            Ok(days) if days.is_empty() => writeln!(out, "        0  days with lost sign-ins to look after")?,
            Ok(days) => {
                let said: Vec<String> =
                    days.iter().map(|day| format!("{} ({})", day.day, day.lost)).collect();
                writeln!(
                    out,
                    "{:>9}  days with lost sign-ins: {}; nobody is disabled whose time rests on them (redress \
                     cognito reconcile)",
                    days.len(),
                    said.join(", ")
                )?;
            }
            Err(_) => writeln!(out, "        ?  days with lost sign-ins")?,
        }
        Ok(())
    }
}

struct Table {
    client: Client,
    name: String,
}

impl Table {
    /// The pools that have rows: DynamoDB keeps no list of partitions, so the whole table is read.
    async fn pools(&self) -> Result<BTreeSet<String>> {
        let mut pools = BTreeSet::new();
        let mut items = self
            .client
            .scan()
            .table_name(&self.name)
            .projection_expression("#pool")
            .expression_attribute_names("#pool", row::POOL)
            .into_paginator()
            .items()
            .send();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| failed(error, "the activity table"))?;
            if let Some(pool) = item.get(row::POOL).and_then(|pool| pool.as_s().ok()) {
                pools.insert(pool.clone());
            }
        }
        Ok(pools)
    }
}
