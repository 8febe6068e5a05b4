//! `redress plan`: what would be changed.

use std::io::Write as _;

use redress_router::audit::Verb;

use super::{head, of, outcomes};
use crate::{
    Surroundings,
    args::{Format, Global, Plan},
    context::{Context, Use, paint},
    exit::{Exit, Result},
    input,
    output::{self, Counts},
    plan_file,
    work::{self, Job},
};

pub(crate) async fn run(global: &Global, args: &Plan, around: &mut Surroundings) -> Result<Exit> {
    let paint = paint(global, around);
    let mut given = input::local(&args.findings, around)?;
    let context = Context::new(global, around, Use::Look).await?;
    given.extend(input::live(&args.findings, &context, around).await?);
    let job = Job::new(Verb::Plan, true, &context, args.patience);
    let items = work::all(&context, &job, &given, around).await?;
    if global.format == Format::Text {
        head(around, paint, &context, false)?;
    }
    outcomes(around, global, paint, &context, &items, ("plan", "Plan", "planned"))?;
    let all = of(&items);
    if let Some(path) = &args.out {
        plan_file::write(path, &context, &items)?;
        if global.format == Format::Text {
            writeln!(around.out, "Written to {0}. To make exactly this: redress apply {0}", path.display())?;
        }
    }
    let pending = args.detailed_exitcode && Counts::of(&all).pending() > 0;
    let exit = output::exit(&all);
    Ok(if pending { exit.and(Exit::Pending) } else { exit })
}
