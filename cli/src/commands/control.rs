//! `redress stop` and `redress resume`: the kill switch.

use std::io::Write as _;

use jiff::Timestamp;
use redress_router::{
    guard::{Stop as StopItem, StopScope},
    store::{Commit, Expect, Op, Store},
};
use serde_json::{Value, json};

use crate::{
    Surroundings,
    args::{Format, Global, Scope, Stop},
    context::{Kept, Reach, Use, account, deployed, rules, store},
    exit::{Exit, Failure, Result},
    output::{json, text},
};

/// Longest reason: it is shown in every note about a stopped fix.
const LONGEST_WHY: usize = 200;

pub(crate) async fn stop(global: &Global, args: &Stop, around: &mut Surroundings) -> Result<Exit> {
    if args.why.chars().count() > LONGEST_WHY {
        return Err(Failure::input(format!("--why: at most {LONGEST_WHY} characters")));
    }
    let scope = scope(global, &args.scope, around)?;
    // A switch that needs nothing but its store works on the day when nothing else does.
    let reach = Reach::new(global, around).await;
    let by = match &reach {
        Ok(reach) => match reach.caller().await {
            Ok(caller) => caller.arn,
            Err(failure) => format!("an unknown caller ({})", failure.message),
        },
        Err(failure) => format!("an unknown caller ({})", failure.message),
    };
    let aws = if deployed(global)? { Some(reach?.aws) } else { None };
    let (store, kept) = store(global, aws.as_ref(), Use::Write)?;
    let item = StopItem { by, at: Timestamp::now(), why: args.why.clone() };
    let op = Op::Put {
        key: scope.key(),
        body: serde_json::to_value(&item).map_err(std::io::Error::other)?,
        etag: uuid::Uuid::new_v4().to_string(),
        expect: Expect::Anything,
        expires: None,
    };
    commit(&*store, op).await?;
    let said = format!("Stopped: {}. Nothing is written for it until `redress resume`.", words(&scope));
    tell(global, around, (&*store, &kept), ("stop", &said), &scope).await
}

pub(crate) async fn resume(global: &Global, args: &Scope, around: &mut Surroundings) -> Result<Exit> {
    let scope = scope(global, args, around)?;
    let aws = if deployed(global)? { Some(Reach::new(global, around).await?.aws) } else { None };
    let (store, kept) = store(global, aws.as_ref(), Use::Write)?;
    let was = store.read(&[scope.key()]).await?.contains_key(&scope.key());
    if was {
        commit(&*store, Op::Delete { key: scope.key(), expect: Expect::Anything }).await?;
    }
    let said = if was {
        format!("Lifted the stop of {}.", words(&scope))
    } else {
        format!("There was no stop of {}.", words(&scope))
    };
    tell(global, around, (&*store, &kept), ("resume", &said), &scope).await
}

fn scope(global: &Global, args: &Scope, around: &mut Surroundings) -> Result<StopScope> {
    Ok(match (&args.rule, &args.account) {
        (Some(rule), _) => {
            // The rules at hand need not be the deployment's, nor sound: worth a word, not a refusal.
            if !rules(global).is_ok_and(|(rules, _)| rules.rule(rule).is_some()) {
                let rule = text::whole(rule);
                writeln!(
                    around.err,
                    "redress: the rules at hand have no rule `{rule}`; it is taken as given"
                )?;
            }
            StopScope::Rule(rule.clone())
        }
        (None, Some(id)) => {
            StopScope::Account(account(id).map_err(|failure| failure.context("--account"))?.to_owned())
        }
        (None, None) => StopScope::All,
    })
}

fn words(scope: &StopScope) -> String {
    match scope {
        StopScope::All => "everything".to_owned(),
        StopScope::Rule(rule) => format!("rule {}", text::whole(rule)),
        StopScope::Account(account) => format!("account {account}"),
    }
}

async fn commit(store: &dyn Store, op: Op) -> Result<()> {
    let commit = Commit { ops: vec![op], records: Vec::new() };
    store.commit(&commit).await.map_err(|error| match error {
        redress_router::store::CommitError::Failed(error) => Failure::from(error),
        other => Failure::new(Exit::Failed, other.to_string()),
    })
}

/// Says what was done, and what is stopped now.
async fn tell(
    global: &Global,
    around: &mut Surroundings,
    (store, kept): (&dyn Store, &Kept),
    (kind, said): (&str, &str),
    scope: &StopScope,
) -> Result<Exit> {
    let mut stops = store.scan("stop#").await?;
    stops.sort_by(|(one, _), (other, _)| one.cmp(other));
    if global.format == Format::Json {
        let stops: Vec<Value> =
            stops.iter().map(|(key, item)| json!({ "item": key, "stop": item.body })).collect();
        let document = json!({
            "schema": format!("redress.{kind}/1"),
            "item": scope.key(),
            "store": store.name(),
            "stops": stops,
        });
        json::print(&mut around.out, &document)?;
        return Ok(Exit::Done);
    }
    writeln!(around.out, "{said}")?;
    let name = text::whole(&store.name());
    match kept {
        Kept::Deployed => writeln!(around.out, "In {name}: it holds for every door of the deployment.")?,
        Kept::Here | Kept::Nowhere => {
            writeln!(
                around.out,
                "In {name}: it holds for `redress` on this machine alone (--deployment NAME)."
            )?;
        }
    }
    for (key, item) in &stops {
        let stop = serde_json::from_value::<StopItem>(item.body.clone());
        let what = text::whole(key.strip_prefix("stop#").unwrap_or(key));
        match stop {
            Ok(StopItem { by, at, why }) => {
                let why = if why.is_empty() { String::new() } else { format!(": {}", text::whole(&why)) };
                let at = at.strftime("%Y-%m-%d %H:%M UTC");
                writeln!(around.out, "  stopped: {what}, since {at} by {}{why}", text::whole(&by))?;
            }
            Err(_) => writeln!(around.out, "  stopped: {what} (the item can't be read, so it counts)")?,
        }
    }
    Ok(Exit::Done)
}
