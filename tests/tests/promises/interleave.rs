//! Two and three runs on one resource at once: every order in which they can get on that changes hands at most three
//! times, point by point.

use std::time::Duration;

use redress_router::{
    audit::{Stage, Verb},
    engine::Done,
};
use redress_sandbox::scenarios::{Case, Scenarios};
use redress_tests::scene::{back, holds, is_done, outcome};

use crate::{all, cases, is_long, world::World};

const END: usize = usize::MAX;

/// What is asked at once, in which order it gets on, and what the resource went through before.
struct Piece {
    scenarios: &'static Scenarios,
    case: &'static Case,
    /// Whether it was fixed before.
    fixed: bool,
    asked: Vec<(Verb, &'static str)>,
    order: Vec<(usize, usize)>,
    /// For how many seconds the first run's machine is suspended when it has got that far.
    frozen: i64,
}

/// How many points a run passes by itself.
async fn length(scenarios: &'static Scenarios, case: &'static Case, fixed: bool, verb: Verb) -> usize {
    let world = World::new(scenarios, case).await;
    if fixed {
        world.ask(Verb::Fix, "before").await;
    }
    world.order(None);
    world.ask(verb, "alone").await;
    world.points().len()
}

fn is_changed(done: Option<&Done>) -> bool {
    match done {
        Some(Done::Outcome(outcome)) => outcome.stage.changed(),
        Some(Done::Repeat { stage, .. }) => stage.changed(),
        _ => false,
    }
}

async fn agrees(piece: &Piece) -> Result<(), String> {
    let world = World::new(piece.scenarios, piece.case).await;
    let name = || format!("{}, {:?} in the order {:?}", world.name(), piece.asked, piece.order);
    judged(piece, &world).await.map_err(|why| format!("{}: {why}", name()))
}

async fn judged(piece: &Piece, world: &World) -> Result<(), String> {
    let untouched = world.look().await;
    if piece.fixed {
        outcome(world.ask(Verb::Fix, "before").await)?;
    }
    world.order(None);
    let done = if piece.frozen > 0 {
        world.ask_frozen(&piece.asked, &piece.order, piece.frozen).await
    } else {
        world.ask_at_once(&piece.asked, &piece.order).await
    };
    holds(world.breaches().is_empty(), || format!("{:?}", world.breaches()))?;

    // At most one set of writes: each run that changed something ended by saying so, and only one did for each way.
    let changed = |stage: Stage| {
        let records = world.memory.records();
        records.iter().filter(|record| record.last && record.stage == stage).count()
    };
    holds(changed(Stage::Verified) <= 1 + usize::from(changed(Stage::Undone) > 0), || {
        format!("fixed more than once: {done:?}")
    })?;

    // Whatever was given back comes again.
    let mut last = done.clone();
    for _ in 0..6 {
        tokio::time::advance(Duration::from_secs(960)).await;
        for ((verb, event), last) in piece.asked.iter().zip(&mut last) {
            if matches!(last, Some(Done::Retry { .. })) {
                *last = world.ask(*verb, event).await;
            }
        }
    }
    holds(world.breaches().is_empty(), || format!("{:?}", world.breaches()))?;
    if let Some(open) = last.iter().flatten().find(|done| matches!(done, Done::Retry { .. })) {
        return Err(format!("it does not come to an end: {open:?}"));
    }
    world.is_settled().await?;

    // The last record of a change is true.
    let now = world.look().await;
    let back = back(piece.case, untouched.clone())?;
    let records = world.memory.records();
    let truth = records.iter().rfind(|record| record.last && record.stage.changed());
    let said = || format!("{done:?}, then {last:?}: it is {now}, was {untouched}");
    match truth.map(|record| record.stage) {
        Some(Stage::Verified) => {
            holds(now != untouched, said)?;
            let planned = outcome(world.ask(Verb::Plan, "plan").await)?;
            holds(is_done(world.case, &planned), said)
        }
        Some(_) => holds(now == back, said),
        None => holds(now == untouched && !last.iter().any(|done| is_changed(done.as_ref())), said),
    }
}

async fn pieces(scenarios: &'static Scenarios, case: &'static Case) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut add = |fixed, asked: &[(Verb, &'static str)], order: Vec<(usize, usize)>, frozen| {
        pieces.push(Piece { scenarios, case, fixed, asked: asked.to_vec(), order, frozen });
    };
    let fix = length(scenarios, case, false, Verb::Fix).await;
    let plan = length(scenarios, case, false, Verb::Plan).await;
    let undo = length(scenarios, case, true, Verb::Undo).await;
    // Two events, the same event twice, and three at once.
    let step = if is_long() { 1 } else { 3 };
    for first in 1..fix {
        add(false, &[(Verb::Fix, "one"), (Verb::Fix, "two")], vec![(0, first), (1, END), (0, END)], 0);
        add(false, &[(Verb::Fix, "one"), (Verb::Fix, "one")], vec![(0, first), (1, END), (0, END)], 0);
        // The first is suspended until its lease is over, and knows nothing of it.
        add(false, &[(Verb::Fix, "one"), (Verb::Fix, "two")], vec![(0, first), (1, END), (0, END)], 900);
        for second in (1..fix).step_by(step) {
            let order = vec![(0, first), (1, second), (0, END), (1, END)];
            add(false, &[(Verb::Fix, "one"), (Verb::Fix, "two")], order.clone(), 0);
            let order = [order, vec![(2, END)]].concat();
            let third = if (first + second) % 2 == 0 { Verb::Fix } else { Verb::Undo };
            add(false, &[(Verb::Fix, "one"), (Verb::Fix, "two"), (third, "three")], order, 0);
        }
        // A person undoes what has hardly been done.
        add(false, &[(Verb::Fix, "one"), (Verb::Undo, "two")], vec![(0, first), (1, END), (0, END)], 0);
    }
    for first in 1..plan {
        add(false, &[(Verb::Plan, "one"), (Verb::Fix, "two")], vec![(0, first), (1, END), (0, END)], 0);
    }
    for first in 1..undo {
        add(true, &[(Verb::Undo, "one"), (Verb::Fix, "two")], vec![(0, first), (1, END), (0, END)], 0);
        add(true, &[(Verb::Undo, "one"), (Verb::Undo, "two")], vec![(0, first), (1, END), (0, END)], 0);
        add(true, &[(Verb::Undo, "one"), (Verb::Fix, "two")], vec![(0, first), (1, END), (0, END)], 900);
    }
    if !is_long() {
        // One in eight, and of each remediator others.
        let turn = scenarios.remediator.bytes().map(usize::from).sum::<usize>();
        let mut number = 0;
        pieces.retain(|_| {
            number += 1;
            (number + turn) % 8 == 0
        });
    }
    pieces
}

#[test]
fn runs_at_once_do_as_one_after_the_other() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let mut work = Vec::new();
    let mut known = std::collections::BTreeSet::new();
    for (scenarios, case) in cases() {
        // The first case that changes something, of each remediator; all of them where there is time.
        if case.expect.changes() && (known.insert(scenarios.remediator) || is_long()) {
            work.extend(runtime.block_on(pieces(scenarios, case)));
        }
    }
    let number = work.len();
    let wrong = all(work, agrees);
    println!("{number} orders of runs");
    let some: Vec<String> = wrong.iter().take(20).map(|why| why.chars().take(1200).collect()).collect();
    assert!(wrong.is_empty(), "{} of {number}: {some:#?}", wrong.len());
}
