//! Everything goes wrong, one thing at a time: at each call and each operation of the store, each fault, once and for
//! good, and the end of the process.

use redress_router::audit::Verb;
use redress_sandbox::{
    emulator::Fault,
    scenarios::{Case, Scenarios},
};
use redress_tests::scene::{Class, admits, comes_to_its_end, holds, outcome, plausible};

use crate::{
    all, cases, is_long,
    world::{Order, Trouble, World},
};

/// The service's own error with this code.
fn error(status: u16, code: &str) -> Fault {
    Fault::Error { status, code: code.to_owned(), message: "by order".to_owned() }
}

fn faults() -> Vec<(Fault, Class)> {
    vec![
        (Fault::Throttled, Class::Passing),
        (Fault::Failed, Class::Passing),
        (error(503, "ServiceUnavailable"), Class::Passing),
        (Fault::NoConnection, Class::Passing),
        (Fault::AnswerLost, Class::Passing),
        (Fault::Silent, Class::Passing),
        (Fault::Truncated, Class::Passing),
        (Fault::Garbled, Class::Nonsense),
        (error(400, "ExpiredToken"), Class::Passing),
        (Fault::Denied, Class::Denied),
        (error(404, "ResourceNotFoundException"), Class::Gone),
    ]
}

/// One run that something happens to.
struct Piece {
    scenarios: &'static Scenarios,
    case: &'static Case,
    verb: Verb,
    order: Order,
    class: Option<Class>,
}

/// Each point of a clean run, with each thing that can happen there, if everything is to be tried. Otherwise a sample:
/// of the first case of a remediator that changes something, each point with one fault that passes and another that
/// lasts; of the others, every third point with one of them. Which ones goes by case and remediator, so that all of them
/// together see each fault at each kind of call.
async fn pieces(scenarios: &'static Scenarios, case: &'static Case, verb: Verb, crash: bool) -> Vec<Piece> {
    let world = World::new(scenarios, case).await;
    if verb == Verb::Undo {
        world.ask(Verb::Fix, "fix").await;
    }
    world.order(None);
    world.ask(verb, "event").await;
    let number = world.points().len();
    let first = scenarios.cases.iter().find(|case| case.expect.changes());
    let first = first.is_some_and(|first| std::ptr::eq(first, case));
    let place = scenarios.cases.iter().position(|known| std::ptr::eq(known, case)).unwrap();
    let place = place + scenarios.remediator.bytes().map(usize::from).sum::<usize>();
    let mut pieces = Vec::new();
    let mut add = |at, trouble, lasting, class| {
        let order = Order { at, trouble, lasting };
        pieces.push(Piece { scenarios, case, verb, order, class });
    };
    for at in 0..number {
        if !is_long() && !first && (at + place) % 3 != 0 {
            continue;
        }
        if crash {
            for (after, trouble) in [Trouble::CrashBefore, Trouble::CrashAfter].into_iter().enumerate() {
                if is_long() || first || (at + place) / 3 % 2 == after {
                    add(at, trouble, false, None);
                }
            }
            continue;
        }
        let faults = faults();
        let number = faults.len();
        for (kind, (fault, class)) in faults.into_iter().enumerate() {
            if is_long() || (at + place) % number == kind {
                add(at, Trouble::Fault(fault.clone()), false, Some(class));
            }
            if is_long() || first && (at + place + number / 2) % number == kind {
                add(at, Trouble::Fault(fault), true, Some(class));
            }
        }
    }
    pieces
}

/// Runs it, judges what came of it, and lets it come again without the fault until it is done.
async fn survives(piece: &Piece) -> Result<(), String> {
    let world = World::new(piece.scenarios, piece.case).await;
    let name = || {
        let Order { at, trouble, lasting } = &piece.order;
        let point = world.points().get(*at).map(|point| point.name.clone());
        let often = if *lasting { "for good" } else { "once" };
        format!("{}, {:?}, {trouble:?} {often} at {at} ({point:?})", world.name(), piece.verb)
    };
    judged(piece, &world).await.map_err(|why| format!("{}: {why}", name()))
}

async fn judged(piece: &Piece, world: &World) -> Result<(), String> {
    let untouched = world.look().await;
    if piece.verb == Verb::Undo {
        outcome(world.ask(Verb::Fix, "fix").await)?;
    }
    let before = world.look().await;
    world.order(Some(piece.order.clone()));
    let done = world.ask(piece.verb, "event").await;
    let now = world.look().await;
    let wrote = world.points().iter().any(|point| point.wrote);
    match (&done, piece.class) {
        (None, None) => {}
        // The last call of all was made.
        (Some(_), None) if piece.order.trouble == Trouble::CrashAfter => {}
        (Some(done), Some(class)) => plausible(piece.case, piece.verb, class, done)?,
        other => return Err(format!("{other:?}")),
    }
    admits(done.as_ref(), now != before)?;
    holds(world.breaches().is_empty(), || format!("{:?}", world.breaches()))?;
    holds(piece.case.expect.changes() || !wrote && now == before, || "it wrote".to_owned())?;
    world.order(None);
    comes_to_its_end(world, piece.verb, untouched, &before, done.as_ref()).await?;
    holds(world.breaches().is_empty(), || format!("{:?}", world.breaches()))
}

fn sweep(verb: Verb, crash: bool) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let work: Vec<Piece> = cases()
        .into_iter()
        .flat_map(|(scenarios, case)| runtime.block_on(pieces(scenarios, case, verb, crash)))
        .collect();
    let number = work.len();
    let wrong = all(work, survives);
    println!("{number} runs of {verb:?}");
    let some: Vec<String> = wrong.iter().take(20).map(|why| why.chars().take(900).collect()).collect();
    assert!(wrong.is_empty(), "{} of {number}: {some:#?}", wrong.len());
}

#[test]
fn a_fix_survives_every_fault_at_every_call() {
    sweep(Verb::Fix, false);
}

#[test]
fn an_undo_survives_every_fault_at_every_call() {
    sweep(Verb::Undo, false);
}

#[test]
fn a_fix_survives_its_process_at_every_call() {
    sweep(Verb::Fix, true);
}

#[test]
fn an_undo_survives_its_process_at_every_call() {
    sweep(Verb::Undo, true);
}
