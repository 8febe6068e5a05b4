//! `redress recover`: settles runs that were cut off.

use std::io::Write as _;

use redress_router::engine::Done;
use tokio::time::Instant;

use crate::{
    Surroundings,
    args::{Format, Global, Recover},
    context::{Context, Use, paint},
    exit::{Exit, Result},
    output::{self, Counts, Entry, json, text},
};

pub(crate) async fn run(global: &Global, args: &Recover, around: &mut Surroundings) -> Result<Exit> {
    let paint = paint(global, around);
    let context = Context::new(global, around, Use::Write).await?;
    let done = Box::pin(context.engine.recover(Instant::now() + args.timeout)).await?;
    let entries: Vec<Entry> = done.iter().map(entry).collect();
    match global.format {
        Format::Json => json::print(&mut around.out, &json::outcomes("recover", &context, &entries))?,
        Format::Text if entries.is_empty() => {
            writeln!(around.out, "No run was cut off in {}.", text::whole(&context.engine.store.name()))?;
        }
        Format::Text => {
            for entry in &entries {
                text::entry(&mut around.out, paint, entry)?;
            }
            writeln!(around.out, "{}", paint.bold(&Counts::of(&entries).line("Recover", "verified")))?;
        }
    }
    Ok(output::exit(&entries))
}

fn entry(done: &Done) -> Entry {
    let base = Entry { source: "records".to_owned(), ..Entry::default() };
    let base = match done {
        Done::Outcome(outcome) => Entry {
            control: Some(outcome.subject.control.clone()),
            account: Some(outcome.subject.account.clone()),
            region: Some(outcome.subject.region.clone()),
            finding: outcome.subject.finding.as_ref().map(|finding| finding.id.clone()),
            ..base
        },
        Done::Repeat { .. } | Done::Unwanted(_) | Done::Retry { .. } => base,
    };
    base.come_of(done)
}
