//! Nothing goes wrong.

use std::collections::{BTreeMap, BTreeSet};

use redress_remediators::{Access, Action, REGISTRY, find};
use redress_router::{
    audit::{Stage, Verb},
    engine::Outcome,
};
use redress_sandbox::scenarios::{Case, Expect, SCENARIOS};
use redress_tests::scene::{back, holds, is_done, outcome};
use serde_json::Value;

use crate::{all, cases, world::World};

fn wrote(world: &World) -> Vec<String> {
    world.points().into_iter().filter(|point| point.wrote).map(|point| point.name).collect()
}

/// All that is promised of a case when nothing goes wrong.
pub async fn keeps_its_promises(world: &World) -> Result<(), String> {
    let before = world.look().await;
    let said = |done: &Outcome| format!("{} ({:?})", done.stage.as_str(), done.reason);

    world.order(None);
    let planned = outcome(world.ask(Verb::Plan, "plan").await)?;
    holds(wrote(world).is_empty(), || format!("a dry run wrote: {:?}", wrote(world)))?;
    holds(world.look().await == before, || "a dry run changed it".to_owned())?;
    holds(planned.subject.remediator.as_deref() == Some(world.scenarios.remediator), || {
        format!("planned by {:?}", planned.subject.remediator)
    })?;
    let as_expected = |done: &Outcome, changed: Stage| {
        let reason = done.reason.clone().unwrap_or_default();
        match world.case.expect {
            Expect::Fixed | Expect::FixedOneWay(_) | Expect::FixedForGood(_) => done.stage == changed,
            Expect::Compliant => done.stage == Stage::Compliant,
            Expect::Refused(why) => done.stage == Stage::Refused && reason.contains(why),
            Expect::Exempt(why) => done.stage == Stage::Exempt && reason.contains(why),
        }
    };
    holds(as_expected(&planned, Stage::Planned), || format!("planned: {}", said(&planned)))?;

    world.order(None);
    let fixed = outcome(world.ask(Verb::Fix, "fix").await)?;
    holds(as_expected(&fixed, Stage::Verified), || format!("fixed: {}", said(&fixed)))?;
    holds(world.breaches().is_empty(), || format!("{:?}", world.breaches()))?;
    let after = world.look().await;
    holds((after != before) == world.case.expect.changes(), || format!("it is now {after}"))?;
    if !world.case.expect.changes() {
        holds(wrote(world).is_empty(), || format!("it wrote: {:?}", wrote(world)))?;
        return world.is_settled().await;
    }
    holds(planned.change == fixed.change, || {
        format!("planned {:?}, made {:?}", planned.change, fixed.change)
    })?;

    world.order(None);
    let again = outcome(world.ask(Verb::Fix, "again").await)?;
    holds(is_done(world.case, &again), || format!("again: {}", said(&again)))?;
    holds(wrote(world).is_empty(), || format!("again, it wrote: {:?}", wrote(world)))?;

    if let Expect::FixedForGood(why) = world.case.expect {
        let undone = outcome(world.ask(Verb::Undo, "undo").await)?;
        let refused = undone.stage == Stage::Refused
            && undone.reason.as_ref().is_some_and(|reason| reason.contains(why));
        holds(refused, || format!("undone: {}", said(&undone)))?;
        holds(wrote(world).is_empty() && world.look().await == after, || {
            format!("undo, which is refused, wrote: {:?}", wrote(world))
        })?;
        return world.is_settled().await;
    }
    let undone = outcome(world.ask(Verb::Undo, "undo").await)?;
    holds(undone.stage == Stage::Undone, || format!("undone: {}", said(&undone)))?;
    let (found, expected) = (world.look().await, back(world.case, before)?);
    holds(found == expected, || format!("undo leads to {found}, not to {expected}"))?;
    holds(world.breaches().is_empty(), || format!("{:?}", world.breaches()))?;

    world.order(None);
    let again = outcome(world.ask(Verb::Undo, "undo again").await)?;
    holds(again.stage == Stage::Skipped, || format!("undone again: {}", said(&again)))?;
    holds(wrote(world).is_empty(), || format!("undone again, it wrote: {:?}", wrote(world)))?;
    world.is_settled().await
}

#[test]
fn every_remediator_has_cases() {
    let known: Vec<&str> = REGISTRY.iter().map(|remediator| remediator.spec().name).collect();
    let tried: Vec<&str> = SCENARIOS.iter().map(|scenarios| scenarios.remediator).collect();
    assert_eq!(tried, known, "each registered remediator has its part in SCENARIOS, in the same order");
    for scenarios in SCENARIOS {
        let name = scenarios.remediator;
        let has = |so: fn(&Expect) -> bool| scenarios.cases.iter().any(|case| so(&case.expect));
        let spec = find(name).unwrap().spec();
        if spec.is_general() {
            assert!(has(|expect| expect.changes()), "{name}: a resource that is fixed");
            continue;
        }
        assert!(has(|expect| *expect == Expect::Compliant), "{name}: a resource that complies");
        let fixed: BTreeSet<&str> =
            scenarios.cases.iter().filter(|case| case.expect.changes()).map(|case| case.control).collect();
        let controls: BTreeSet<&str> = spec.controls.iter().copied().collect();
        assert_eq!(fixed, controls, "{name}: a resource that fails, for each control");
        let names: BTreeSet<_> = scenarios.cases.iter().map(|case| (case.control, case.name)).collect();
        assert_eq!(names.len(), scenarios.cases.len(), "{name}: a name for each case");
    }
}

#[test]
fn every_case_goes_all_the_way_and_back() {
    let wrong = all(cases(), async |(scenarios, case)| {
        let world = World::new(scenarios, case).await;
        Box::pin(keeps_its_promises(&world)).await.map_err(|why| format!("{}: {why}", world.name()))
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// One control goes by many names: in each standard that has it, and in OCSF.
#[test]
fn every_spelling_leads_to_the_same_plan() {
    let number = std::sync::atomic::AtomicUsize::new(0);
    let own = |case: &Case| case.control.starts_with("redress.");
    let changing = cases().into_iter().filter(|(_, case)| case.expect.changes() && !own(case)).collect();
    let wrong = all(changing, async |(scenarios, case)| {
        let mut world = World::new(scenarios, case).await;
        let plain = outcome(world.ask(Verb::Plan, "plain").await)?;
        for (name, finding) in world.spellings() {
            world.tell(finding);
            let planned = outcome(world.ask(Verb::Plan, &name).await)?;
            let same = planned.stage == Stage::Planned
                && planned.change == plain.change
                && planned.subject.resource == plain.subject.resource;
            holds(same, || format!("{} as {name}: {planned:?}", world.name()))?;
            number.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
        Ok(())
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!("{} spellings", number.into_inner());
}

/// A finding of a resource that is gone, or never was.
#[test]
fn what_does_not_exist_is_skipped() {
    let wrong = all(cases(), async |(scenarios, case)| {
        let mut world = World::new(scenarios, case).await;
        let before = world.look().await;
        if !world.of_nothing() {
            return Ok(());
        }
        for verb in [Verb::Plan, Verb::Fix, Verb::Undo] {
            world.order(None);
            let done = outcome(world.ask(verb, &format!("{verb:?}")).await)?;
            let name = || format!("{}: {verb:?}: {done:?}", world.name());
            holds(done.stage == Stage::Skipped, name)?;
            holds(wrote(&world).is_empty() && world.look().await == before, name)?;
        }
        world.is_settled().await
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is called is what is declared: over all of its cases a remediator makes every call of its lists, and no
/// other.
#[test]
fn calls_are_what_is_declared() {
    type Calls = BTreeMap<&'static str, [BTreeSet<String>; 3]>;
    let called: std::sync::Mutex<Calls> = std::sync::Mutex::default();
    let wrong = all(cases(), async |(scenarios, case)| {
        let world = World::new(scenarios, case).await;
        let mut seen: [BTreeSet<String>; 3] = Default::default();
        for (verb, calls) in [Verb::Plan, Verb::Fix, Verb::Undo].into_iter().zip(&mut seen) {
            world.order(None);
            outcome(world.ask(verb, &format!("{verb:?}")).await)?;
            let names = world.points().into_iter().map(|point| point.name);
            calls.extend(names.filter(|name| !name.starts_with("store:")));
        }
        let mut called = called.lock().unwrap();
        for (all, own) in called.entry(scenarios.remediator).or_default().iter_mut().zip(seen) {
            all.extend(own);
        }
        Ok(())
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (name, [plan, fix, undo]) in called.into_inner().unwrap() {
        let remediator = find(name).unwrap();
        let declared = |actions: &[Action]| -> BTreeSet<String> {
            actions
                .iter()
                .flat_map(|action| action.operations().map(|(s, o)| format!("{s}:{o}")).collect::<Vec<_>>())
                .collect()
        };
        let reads = declared(&remediator.actions(Access::Plan));
        assert_eq!(plan, reads, "{name}: a plan");
        let writes = declared(remediator.spec().writes);
        assert_eq!(fix.difference(&reads).cloned().collect::<BTreeSet<_>>(), writes, "{name}: a fix");
        let back = declared(remediator.spec().undo);
        let rest: BTreeSet<String> = undo.difference(&reads).cloned().collect();
        assert!(rest.is_superset(&back), "{name}: undo makes no use of {:?}", back.difference(&rest));
        assert!(
            rest.is_subset(&writes.union(&back).cloned().collect()),
            "{name}: undo calls {rest:?}, and declares {back:?}"
        );
    }
}

/// What was recorded is what another reads: nothing else than the resource's own state.
#[test]
fn records_hold_the_change_and_its_calls() {
    let wrong = all(cases(), async |(scenarios, case)| {
        let world = World::new(scenarios, case).await;
        world.order(None);
        let done = outcome(world.ask(Verb::Fix, "fix").await)?;
        let records = world.memory.records();
        let wrote = wrote(&world);
        let recorded: Vec<String> = records
            .iter()
            .flat_map(|record| &record.calls)
            .map(|call| format!("{}:{}", call.service, call.operation))
            .collect();
        for write in &wrote {
            holds(recorded.contains(write), || format!("{}: {write} is in no record", world.name()))?;
        }
        let last = records.last().ok_or("no record")?;
        holds(last.last && last.stage == done.stage && last.change == done.change, || {
            format!("{}: {last:?}", world.name())
        })?;
        let change =
            last.change.as_ref().map(|change| (change.from != Value::Null, change.to != Value::Null));
        holds(!case.expect.changes() || change == Some((true, true)), || {
            format!("{}: {change:?}", world.name())
        })
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}
