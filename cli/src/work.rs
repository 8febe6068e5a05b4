//! Driving the engine: many resources at once, in a stable order, with patience.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redress_remediators::{Change, Key, find};
use redress_router::{
    audit::{Asker, Verb},
    diff::{Difference, differences},
    engine::{Done, Engine, Outcome, Request},
    finding::Finding,
    report::{Channels, Reporter},
};
use serde_json::Value;
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use crate::{
    Surroundings,
    args::Patience,
    context::Context,
    exit::Failure,
    input::{Given, What},
    output::{Entry, progress},
};

/// How often what passes by itself is tried again within a resource's time.
const TRIES: usize = 6;

/// What is to be done with findings.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) verb: Verb,
    pub(crate) dry_run: bool,
    pub(crate) caller: String,
    /// Stands for the event's id; one for each command.
    pub(crate) event: String,
    pub(crate) patience: Patience,
}

impl Job {
    pub(crate) fn new(verb: Verb, dry_run: bool, context: &Context, patience: Patience) -> Self {
        let event = format!("cli-{}", uuid::Uuid::new_v4());
        Self { verb, dry_run, caller: context.caller.arn.clone(), event, patience }
    }

    fn request(&self, finding: &Finding, only: Option<&Key>, agreed: Option<&Change<Value>>) -> Request {
        Request {
            finding: finding.clone(),
            verb: self.verb,
            asked_by: Asker::Cli { caller: self.caller.clone() },
            event: self.event.clone(),
            asked_at: None,
            only_rule: None,
            only_resource: only.cloned(),
            agreed: agreed.cloned(),
            deadline: Instant::now() + self.patience.timeout,
            dry_run: self.dry_run,
            record: !self.dry_run,
            listed: true,
            after: Vec::new(),
        }
    }
}

/// One resource of one finding, and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) finding: Option<Box<Finding>>,
    pub(crate) outcome: Option<Box<Outcome>>,
    pub(crate) entry: Entry,
}

impl Item {
    fn given(given: &Given) -> Self {
        Self { finding: None, outcome: None, entry: Entry::given(given) }
    }

    fn done(job: &Job, source: &str, finding: &Finding, done: Done) -> Self {
        let mut entry = Entry::done(source, finding, &done);
        // A run that is not recorded can't be asked for.
        entry.run = entry.run.filter(|_| !job.dry_run);
        let outcome = match done {
            Done::Outcome(outcome) => Some(outcome),
            Done::Repeat { .. } | Done::Unwanted(_) | Done::Retry { .. } => None,
        };
        Self { finding: Some(Box::new(finding.clone())), outcome, entry }
    }

    /// The change that is planned, and of what.
    pub(crate) fn planned(&self) -> Option<(&Finding, &Key, &Change<Value>)> {
        let outcome = self.outcome.as_ref().filter(|_| self.entry.pending())?;
        let (key, change) = (outcome.subject.resource.as_ref()?, outcome.change.as_ref()?);
        Some((self.finding.as_deref()?, key, change))
    }
}

/// Asks the engine until it has an answer or the time is up.
async fn answer(engine: &Engine, request: &Request) -> Vec<Done> {
    let mut known: Vec<Done> = Vec::new();
    for tried in 1.. {
        let mut done = Box::pin(engine.handle(request)).await;
        done.retain(|done| !done.is_of_another());
        // What a resource of the finding has come to stays, when another one is the reason to ask again.
        for (new, old) in done.iter_mut().zip(&known) {
            if matches!((&*new, old), (Done::Repeat { .. }, Done::Outcome(_))) {
                *new = old.clone();
            }
        }
        let pause = done.iter().filter_map(|done| match done {
            Done::Retry { after, .. } => Some(*after),
            Done::Outcome(_) | Done::Repeat { .. } | Done::Unwanted(_) => None,
        });
        let left = request.deadline.saturating_duration_since(Instant::now());
        match pause.max() {
            Some(pause) if tried < TRIES && pause < left => {
                // The queue's first pause is long for somebody who waits.
                let soon = Duration::from_secs(1 << tried.min(5));
                tokio::time::sleep(pause.min(soon)).await;
                known = done;
            }
            _ => return done,
        }
    }
    known
}

/// Handles all findings without a word about any of them: a dry run, or what was agreed to before it.
pub(crate) async fn all(
    context: &Context,
    job: &Job,
    given: &[Given],
    around: &mut Surroundings,
) -> Result<Vec<Item>, Failure> {
    let bar = progress(around, Some(given.len()), "looking at resources");
    let gate = Arc::new(Semaphore::new(job.patience.parallel.into()));
    let mut tasks = JoinSet::new();
    for (number, one) in given.iter().cloned().enumerate() {
        let (engine, job, gate) = (Arc::clone(&context.engine), job.clone(), Arc::clone(&gate));
        tasks.spawn(async move {
            let _turn = gate.acquire().await;
            let What::Finding(finding) = &one.what else { return (number, vec![Item::given(&one)]) };
            let done = answer(&engine, &job.request(finding, None, None)).await;
            (number, done.into_iter().map(|done| Item::done(&job, &one.source, finding, done)).collect())
        });
    }
    let mut sorted: Vec<Vec<Item>> = vec![Vec::new(); given.len()];
    while let Some(ended) = tasks.join_next().await {
        let (number, items) = ended.map_err(|error| std::io::Error::other(error.to_string()))?;
        if let Some(place) = sorted.get_mut(number) {
            *place = items;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let mut items: Vec<Item> = sorted.into_iter().flatten().collect();
    bring_together(&mut items);
    mark_same(&mut items);
    refuse_conflicts(&mut items);
    Ok(items)
}

/// Puts findings of one resource side by side, where the first of them is, and a fix that may bring another finding
/// before the fix of that one.
fn bring_together(items: &mut [Item]) {
    let place = |item: &Item| item.outcome.as_ref().and_then(|outcome| outcome.subject.resource.clone());
    let raised = |item: &Item| {
        let remediator = item.entry.remediator.as_deref().and_then(find);
        remediator.map_or(&[][..], |remediator| remediator.may_raise())
    };
    let mut first: HashMap<Key, (usize, Vec<&'static str>)> = HashMap::new();
    for (number, item) in items.iter().enumerate() {
        if let Some(key) = place(item) {
            first.entry(key).or_insert((number, Vec::new())).1.extend(raised(item));
        }
    }
    let mut ranked: Vec<((usize, bool), Item)> = items
        .iter()
        .enumerate()
        .map(|(number, item)| {
            let known = place(item).and_then(|key| first.get(&key));
            let rank = known.map_or((number, false), |(at, raised)| {
                let control = item.finding.as_ref().map(|finding| finding.control.as_str());
                (*at, control.is_some_and(|control| raised.contains(&control)))
            });
            (rank, item.clone())
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    for (place, (_, item)) in items.iter_mut().zip(ranked) {
        *place = item;
    }
}

/// Refuses a change that wants one value of a resource to be something else than an earlier change does.
fn refuse_conflicts(items: &mut [Item]) {
    for number in 1..items.len() {
        let Some((earlier, [item, ..])) = items.split_at_mut_checked(number) else { continue };
        let Some((_, key, change)) = item.planned() else { continue };
        let conflict = earlier.iter().enumerate().find_map(|(at, other)| {
            let (_, _, theirs) = other.planned().filter(|(_, of, _)| *of == key)?;
            let same = other.entry.remediator == item.entry.remediator;
            let path = same.then(|| contradiction(change, theirs)).flatten()?;
            Some(format!(
                "it wants another `{path}` than number {} above: apply that one, then plan again",
                at + 1
            ))
        });
        if let Some(why) = conflict {
            item.entry = item.entry.clone().not_begun(&why);
            item.outcome = None;
        }
    }
}

/// A value that both changes alter, each to another.
fn contradiction(one: &Change<Value>, other: &Change<Value>) -> Option<String> {
    // Members of lists are added and removed one by one: two changes of a list need not be at odds.
    let altered = |change: &Change<Value>| {
        let all = differences(&change.from, &change.to);
        all.into_iter().filter(|one| one.from.is_some() && one.to.is_some()).collect::<Vec<_>>()
    };
    let others = altered(other);
    let at_odds = |one: &Difference| others.iter().any(|other| other.path == one.path && other.to != one.to);
    altered(one).into_iter().find(at_odds).map(|one| one.path)
}

/// Says of a change that an earlier finding asks for as well.
fn mark_same(items: &mut [Item]) {
    let mut first: HashMap<(String, String), usize> = HashMap::new();
    for number in 0..items.len() {
        let Some(item) = items.get_mut(number) else { continue };
        let Some((_, key, change)) = item.planned() else { continue };
        let remediator = item.entry.remediator.clone().unwrap_or_default();
        let what = (format!("{remediator} {key}"), format!("{} {}", change.from, change.to));
        match first.get(&what) {
            Some(earlier) => item.entry.same_as = Some(*earlier),
            None => drop(first.insert(what, number)),
        }
    }
}

/// Makes the changes that were agreed to: `items` as planned, each replaced by what came of it.
///
/// Resources are worked on side by side, findings of one resource one after the other: where the first of
/// them has changed it, the others' plans are made anew, and hold if they want nothing that was not agreed.
pub(crate) async fn agreed(
    context: &Context,
    job: &Job,
    items: Vec<Item>,
    around: &mut Surroundings,
) -> Result<Vec<Item>, Failure> {
    let mut groups: Vec<(Key, Vec<(usize, Item)>)> = Vec::new();
    let mut ended: Vec<Option<Item>> = Vec::new();
    let mut count = 0;
    for (number, item) in items.into_iter().enumerate() {
        match item.planned().map(|(_, key, _)| key.clone()) {
            Some(key) => {
                count += 1;
                ended.push(None);
                match groups.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, group)) => group.push((number, item)),
                    None => groups.push((key, vec![(number, item)])),
                }
            }
            None => ended.push(Some(item)),
        }
    }
    let bar = progress(around, Some(count), "changing resources");
    let gate = Arc::new(Semaphore::new(job.patience.parallel.into()));
    let interrupted = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for (key, group) in groups {
        let (engine, job, gate) = (Arc::clone(&context.engine), job.clone(), Arc::clone(&gate));
        let (interrupted, bar) = (Arc::clone(&interrupted), bar.clone());
        tasks.spawn(async move {
            let _turn = gate.acquire().await;
            let mut changed = false;
            let mut done = Vec::new();
            for (number, item) in group {
                let item = if interrupted.load(Ordering::Relaxed) {
                    Item { entry: item.entry.not_begun("not begun: interrupted"), outcome: None, ..item }
                } else {
                    one(&engine, &job, &key, item, changed).await
                };
                changed |= item.outcome.as_ref().is_some_and(|outcome| outcome.stage.changed());
                done.push((number, item));
                bar.inc(1);
            }
            done
        });
    }
    loop {
        tokio::select! {
            next = tasks.join_next() => match next {
                None => break,
                Some(group) => {
                    for (number, item) in group.map_err(|error| std::io::Error::other(error.to_string()))? {
                        if let Some(place) = ended.get_mut(number) {
                            *place = Some(item);
                        }
                    }
                }
            },
            // What has begun is brought to its end: a cut-off run would have to be recovered.
            Ok(()) = tokio::signal::ctrl_c(), if !interrupted.load(Ordering::Relaxed) => {
                interrupted.store(true, Ordering::Relaxed);
                bar.set_message("interrupted: ending what has begun");
            }
        }
    }
    bar.finish_and_clear();
    Ok(ended.into_iter().flatten().collect())
}

async fn one(engine: &Engine, job: &Job, key: &Key, item: Item, changed: bool) -> Item {
    let Some((finding, _, agreed)) = item.planned() else { return item };
    let source = item.entry.source.clone();
    let mut agreed = agreed.clone();
    if changed && job.verb == Verb::Fix {
        let anew = Job { verb: Verb::Plan, dry_run: true, ..job.clone() };
        let planned = answer(engine, &anew.request(finding, Some(key), None)).await.into_iter().next();
        let Some(planned) = planned.map(|done| Item::done(&anew, &source, finding, done)) else {
            return item;
        };
        match planned.planned() {
            Some((_, _, change)) if within(change, &agreed) => agreed = change.clone(),
            Some(_) => {
                let why = "the resource is not as it was when the plan was made; plan again";
                return Item { entry: item.entry.not_begun(why), outcome: None, ..item };
            }
            None => return planned,
        }
    }
    let done = answer(engine, &job.request(finding, Some(key), Some(&agreed))).await;
    let done = done.into_iter().next().unwrap_or_else(|| Done::Unwanted("the engine gave no answer".into()));
    Item::done(job, &source, finding, done)
}

/// Whether a change does nothing that the agreed one did not.
fn within(change: &Change<Value>, agreed: &Change<Value>) -> bool {
    let mut allowed = differences(&agreed.from, &agreed.to);
    differences(&change.from, &change.to).iter().all(|wanted: &Difference| {
        match allowed.iter().position(|one| one == wanted) {
            Some(at) => {
                allowed.swap_remove(at);
                true
            }
            None => false,
        }
    })
}

/// Writes outcomes to their findings, in the Region of each; returns what could not be written.
pub(crate) async fn report(context: &Context, items: &[Item]) -> Vec<String> {
    // As the engine has it where it handles all resources of a finding at once: rules come back to one that is NEW.
    let left = items.iter().filter(|item| !item.entry.dealt_with());
    let left: HashSet<&str> = left.filter_map(|item| item.entry.finding.as_deref()).collect();
    let outcomes = items.iter().filter_map(|item| {
        let outcome = item.outcome.as_deref()?;
        let is_left = item.entry.finding.as_deref().is_some_and(|finding| left.contains(finding));
        // What is not recorded can't be looked up.
        let run = if item.entry.run.is_some() { outcome.run.clone() } else { String::new() };
        Some(Outcome { run, workflow_new: outcome.workflow_new && !is_left, ..outcome.clone() })
    });
    let mut regions: HashMap<String, Vec<Done>> = HashMap::new();
    for outcome in outcomes {
        let region = outcome.subject.region.clone();
        regions.entry(region).or_default().push(Done::Outcome(Box::new(outcome)));
    }
    let mut failed = Vec::new();
    for (region, mut done) in regions {
        let config = context.reach.aws.to_builder().region(aws_config::Region::new(region)).build();
        let reporter = Reporter::new(config, Channels { findings: true, bus: None });
        // A file may be of yesterday, and records hold nothing of what people have written on the finding.
        if let Err(error) = reporter.look_up(&mut done, true).await {
            failed.push(Failure::from(error.context("findings can't be read")).message);
        }
        let outcomes: Vec<&Outcome> = done.iter().filter_map(Done::outcome).collect();
        for (outcome, told) in outcomes.iter().zip(reporter.report(&outcomes).await) {
            if let Err(error) = told {
                failed.push(format!("run {}: {}", outcome.run, Failure::from(error).message));
            }
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn two_changes_are_at_odds_over_a_value_not_over_members_of_a_list() {
        let change = |from, to| Change { from, to };
        let policy = |length| json!({ "length": length, "symbols": false });
        let eight = change(policy(6), policy(8));
        assert_eq!(contradiction(&eight, &eight), None);
        assert_eq!(contradiction(&change(policy(6), policy(14)), &eight).as_deref(), Some("length"));
        let symbols = change(policy(6), json!({ "length": 6, "symbols": true }));
        assert_eq!(contradiction(&symbols, &eight), None);
        let ssh = change(json!(["ssh", "rdp"]), json!(["rdp"]));
        let rdp = change(json!(["ssh", "rdp"]), json!(["ssh"]));
        assert_eq!(contradiction(&ssh, &rdp), None);
    }

    #[test]
    fn a_part_of_what_was_agreed_is_agreed() {
        let change = |from, to| Change { from: json!({ "rules": from }), to: json!({ "rules": to }) };
        let both = change(json!(["ssh", "rdp", "web"]), json!(["web"]));
        assert!(within(&both, &both));
        assert!(within(&change(json!(["rdp", "web"]), json!(["web"])), &both));
        assert!(!within(&change(json!(["rdp", "web"]), json!([])), &both));
        assert!(!within(&change(json!(["rdp", "rdp"]), json!([])), &both));
        assert!(!within(&change(json!(["web"]), json!(["web", "new"])), &both));
    }
}
