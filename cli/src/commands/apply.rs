//! `redress apply`: plan, ask, change.

use std::io::Write as _;

use jiff::Timestamp;
use redress_router::{audit::Verb, event::shown, rules::Mode};

use super::{ask, deployment, entries, head, of, outcomes, tell};
use crate::{
    Surroundings,
    args::{Apply, Format, Global},
    context::{Context, Use, paint},
    exit::{Exit, Failure, Result},
    input::{self, Given},
    output::{self, Counts, Entry, text},
    plan_file::{self, Agreed},
    work::{self, Item, Job},
};

pub(crate) async fn run(global: &Global, args: &Apply, around: &mut Surroundings) -> Result<Exit> {
    if global.format == Format::Json && !args.yes {
        return Err(Failure::input("--format json can't ask: it needs --yes"));
    }
    let paint = paint(global, around);
    let as_text = global.format == Format::Text;
    let file = plan_of(args, around)?;
    let mut given = if file.is_some() { Vec::new() } else { input::local(&args.findings, around)? };
    let mut context = Context::new(global, around, Use::Write).await?;
    context.engine = Box::pin(deployment::engine_for(global, &context)).await?;
    let ceiling = context.engine.settings.ceiling;
    if ceiling < Mode::Apply {
        let why = format!("nothing is changed: the deployment's ceiling is `{}`", ceiling.as_str());
        return Err(Failure::new(Exit::Refused, why));
    }
    let agreed = match file {
        Some((name, bytes)) => {
            let read = plan_file::read(&bytes, &context, args.max_age, Timestamp::now());
            Some(read.map_err(|failure| failure.context(&name))?)
        }
        None => None,
    };
    match &agreed {
        Some(agreed) => {
            for (number, one) in agreed.iter().enumerate() {
                // A finding of several resources stands in the file once for each.
                let known = agreed.iter().take(number).any(|other| other.finding == one.finding);
                if !known {
                    given.push(Given::finding("plan file", one.finding.clone()));
                }
            }
        }
        None => given.extend(input::live(&args.findings, &context, around).await?),
    }
    let job = Job::new(Verb::Plan, true, &context, args.patience);
    let mut items = work::all(&context, &job, &given, around).await?;
    if let Some(agreed) = &agreed {
        items = only_agreed(&items, agreed);
    }
    if as_text {
        head(around, paint, &context, true)?;
        entries(around, paint, &items)?;
        writeln!(around.out, "{}", paint.bold(&Counts::of(&of(&items)).line("Plan", "planned")))?;
    }
    let pending = Counts::of(&of(&items)).pending();
    if pending == 0 {
        if !as_text {
            outcomes(around, global, paint, &context, &items, ("apply", "Apply", "verified"))?;
        }
        let told = tell(around, &context, &items, args.report).await?;
        return Ok(output::exit(&of(&items)).and(told));
    }
    let question = if pending == 1 {
        "Apply this change?".to_owned()
    } else {
        format!("Apply these {pending} changes?")
    };
    if !ask(around, &question, args.yes)? {
        writeln!(around.out, "Nothing was changed.")?;
        return Ok(output::exit(&of(&items)).and(Exit::Refused));
    }
    around.out.flush()?;
    let job = Job::new(Verb::Fix, false, &context, args.patience);
    let planned: Vec<Option<Vec<String>>> =
        items.iter().map(|item| item.entry.pending().then(|| item.entry.notes.clone())).collect();
    let items = work::agreed(&context, &job, items, around).await?;
    if as_text {
        writeln!(around.out)?;
        for (item, planned) in items.iter().zip(planned) {
            // What was no change has been told above, and so has what there was to note.
            if let Some(notes) = planned {
                text::entry(&mut around.out, paint, &item.entry.clone().without(&notes))?;
            }
        }
        writeln!(around.out, "{}", paint.bold(&Counts::of(&of(&items)).line("Apply", "verified")))?;
        if items.iter().any(|item| item.entry.outcome == "verified") {
            writeln!(around.out, "To put a change back: redress undo --run RUN")?;
        }
    } else {
        outcomes(around, global, paint, &context, &items, ("apply", "Apply", "verified"))?;
    }
    let told = tell(around, &context, &items, args.report).await?;
    Ok(output::exit(&of(&items)).and(told))
}

/// The plan file's name and content, if the one file that is named is one.
fn plan_of(args: &Apply, around: &mut Surroundings) -> Result<Option<(String, Vec<u8>)>> {
    let mut files = args.findings.files.iter();
    let (Some(path), None) = (files.next(), files.next()) else { return Ok(None) };
    if path.as_os_str() == "-" {
        return Ok(None);
    }
    let bytes = input::bytes(path, around)?;
    Ok(plan_file::is_one(&bytes).then(|| (input::name(path), bytes)))
}

/// Of what is planned now, what the file says; the rest of its changes are refused.
fn only_agreed(items: &[Item], agreed: &[Agreed]) -> Vec<Item> {
    let mut kept = Vec::new();
    for one in agreed {
        let of_finding = |item: &&Item| {
            item.finding.as_ref().is_some_and(|finding| {
                finding.id == one.finding.id && finding.product_arn == one.finding.product_arn
            })
        };
        let resource = one.resource.to_string();
        let found = items.iter().filter(of_finding).find(|item| {
            let key = item.entry.resource.as_deref();
            key.is_none() || key == Some(&resource)
        });
        let Some(item) = found else {
            // Such as one of an account's resources that is not listed any more.
            let of_finding = items.iter().find(of_finding);
            let why = format!("`{}` is not what the finding leads to now; plan again", shown(&resource));
            kept.extend(of_finding.map(|item| {
                let entry = Entry { resource: Some(resource), ..item.entry.clone() };
                Item { entry: entry.not_begun(&why), outcome: None, ..item.clone() }
            }));
            continue;
        };
        let mut item = item.clone();
        item.entry.same_as = None;
        if item.entry.pending() && item.entry.change.as_ref() != Some(&one.change) {
            let why = "the resource is not as it was when the plan was made; plan again";
            item = Item { entry: item.entry.not_begun(why), outcome: None, ..item };
        }
        kept.push(item);
    }
    kept
}
