//! `redress cognito restore`: a user whom redress has disabled is enabled again, and its days begin anew.
//!
//! It is the undo of the run that disabled the user, so that it is recorded, and a hold keeps the rule from
//! doing it again.

use std::io::Write as _;

use jiff::Timestamp;
use redress_activity::row::{Phase, Row};
use redress_router::{activity::ActivityTable, control::INACTIVE_USER, event::shown};
use serde_json::json;

use super::{
    activity, pool,
    users::{Pool, User},
};
use crate::{
    Surroundings,
    args::{Format, Global, Restore},
    commands::{
        ask, asks_nothing_in_json,
        undo::{self, Way},
    },
    context::{Context, Use},
    exit::{Exit, Failure, Result},
    output::json,
};

/// How often a row is read again that sign-ins keep changing.
const TRIES: usize = 5;

pub(crate) async fn run(global: &Global, args: &Restore, around: &mut Surroundings) -> Result<Exit> {
    asks_nothing_in_json(global, args.yes || args.dry_run)?;
    let context = Context::new(global, around, if args.dry_run { Use::Look } else { Use::Write }).await?;
    let table = activity(&context)?;
    let pool = Pool::new(&context, pool(&args.pool, &context.reach.region)?);
    // The name is not repeated: it may be an e-mail address.
    let user = pool
        .find(&args.user)
        .await?
        .ok_or_else(|| Failure::input(format!("the pool `{}` has no user of that `sub` or name", pool.id)))?;
    let key = pool.key(&user.sub).to_string();
    let run = if user.enabled || elsewhere(&table, &pool, &user).await? {
        None
    } else {
        undo::last(&context, &key, Some(INACTIVE_USER)).await?
    };
    match run {
        Some(given) => {
            let question = format!("Enable the user {} again?", user.sub);
            let way = Way {
                kind: "cognito-restore",
                name: "Restore",
                question: Some(&question),
                run: None,
                dry_run: args.dry_run,
                yes: args.yes,
                report: false,
                patience: args.patience,
            };
            Box::pin(undo::all(global, &context, &[given], &way, around)).await
        }
        None if args.reset_clock => {
            let clock = Clock { pool: &pool, table: &table, user: &user };
            clock.reset(global, args, around).await
        }
        None => nothing_to_undo(global, &context, (&user, &key), around),
    }
}

/// Whether the activity table says that the user was enabled since redress disabled it: whoever has disabled it
/// now, it was not redress.
async fn elsewhere(table: &ActivityTable, pool: &Pool<'_>, user: &User) -> Result<bool> {
    let row = table.row(pool.id, &user.sub).await?;
    Ok(row.is_some_and(|row| row.phase != Some(Phase::Disabled)))
}

/// Of a user who is enabled, or whom somebody else has disabled.
fn nothing_to_undo(
    global: &Global,
    context: &Context,
    (user, key): (&User, &str),
    around: &mut Surroundings,
) -> Result<Exit> {
    let store = context.engine.store.name();
    let (why, exit) = if user.enabled {
        ("it is enabled".to_owned(), Exit::Done)
    } else {
        // Whoever disabled it knew why.
        let why = format!(
            "it is disabled, and not by redress as far as {} and the activity table know (`redress undo --resource \
             {key}` undoes redress's last run all the same)",
            shown(&store)
        );
        (why, Exit::Refused)
    };
    if global.format == Format::Json {
        print(context, "unchanged", around)?;
    }
    let said = format!("The user {} was not changed: {why}. --reset-clock gives it its time anew.", user.sub);
    match (global.format, exit) {
        (Format::Text, Exit::Done) => writeln!(around.out, "{said}")?,
        _ => writeln!(around.err, "redress: {said}")?,
    }
    Ok(exit)
}

fn print(context: &Context, clock: &str, around: &mut Surroundings) -> Result<()> {
    let mut document = json::outcomes("cognito-restore", context, &[]);
    if let Some(document) = document.as_object_mut() {
        document.insert("clock".to_owned(), json!(clock));
    }
    Ok(json::print(&mut around.out, &document)?)
}

/// A user's time.
struct Clock<'a> {
    pool: &'a Pool<'a>,
    table: &'a ActivityTable,
    user: &'a User,
}

impl Clock<'_> {
    /// Gives the user its time anew, whether it is enabled or not.
    async fn reset(&self, global: &Global, args: &Restore, around: &mut Surroundings) -> Result<Exit> {
        let sub = &self.user.sub;
        let question = format!("Give the user {sub} its time anew?");
        let done = if self.row().await?.is_none() {
            Err("nobody watches it: it has no row in the activity table")
        } else if args.dry_run {
            Err("nothing was written")
        } else if ask(around, &question, args.yes)? {
            self.write().await?;
            Ok(())
        } else {
            writeln!(around.out, "Nothing was changed.")?;
            return Ok(Exit::Refused);
        };
        if global.format == Format::Json {
            print(self.pool.context, if done.is_ok() { "reset" } else { "unchanged" }, around)?;
            return Ok(Exit::Done);
        }
        match done {
            Ok(()) => writeln!(around.out, "The time of the user {sub} begins anew.")?,
            Err(why) => writeln!(around.out, "The user {sub} was not changed: {why}.")?,
        }
        Ok(Exit::Done)
    }

    async fn row(&self) -> Result<Option<Row>> {
        Ok(self.table.row(self.pool.id, &self.user.sub).await?)
    }

    async fn write(&self) -> Result<()> {
        for _ in 0..TRIES {
            let Some(before) = self.row().await? else { return Ok(()) };
            let now = Timestamp::now();
            let mut after = Row {
                restored: Some(now),
                phase: None,
                warned: None,
                ring: None,
                run: None,
                ..before.clone()
            };
            after.ttl = Some(self.pool.alarm(&after, now)?.as_second());
            if self.table.replace(&before, &after).await? {
                return Ok(());
            }
        }
        Err(Failure::new(Exit::Failed, "the user is signing in all the while: nothing was written"))
    }
}
