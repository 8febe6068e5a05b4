//! `redress undo`: what the last run has changed, put back.

use std::{collections::BTreeMap, io::Write as _, sync::Arc};

use redress_remediators::{Key, REGISTRY, find};
use redress_router::{
    audit::{Subject, Verb},
    control::ControlId,
    event::shown,
    finding::{Compliance, Finding, FindingResource, Format as FindingFormat, RecordState, Workflow},
    store::{RunRef, records},
    undo,
};
use serde_json::Value;

use super::{ask, asks_nothing_in_json, cognito::with_table, entries, head, of, outcomes, tell};
use crate::{
    Surroundings,
    args::{Format, Global, Patience, Undo},
    context::{Context, Use, assumed, keys, paint},
    exit::{Exit, Failure, Result},
    input::{self, Given},
    output::{self, Counts, text},
    work::{self, Item, Job},
};

pub(crate) async fn run(global: &Global, args: &Undo, around: &mut Surroundings) -> Result<Exit> {
    asks_nothing_in_json(global, args.yes || args.dry_run)?;
    // It is read of users alone.
    let global = &with_table(global);
    let to = if args.dry_run { Use::Read } else { Use::Write };
    let context = Context::new(global, around, to).await?;
    let given = match (&args.run, &args.resource) {
        (Some(run), _) => vec![by_run(&context, run).await?],
        (None, Some(resource)) => vec![by_resource(&context, resource, args.control.as_deref()).await?],
        (None, None) if args.files.is_empty() => {
            return Err(Failure::input(
                "nothing to undo is named: give a file of findings, --run or --resource",
            ));
        }
        (None, None) => input::files(&args.files, around)?,
    };
    let way = Way {
        kind: "undo",
        name: "Undo",
        question: None,
        run: args.run.as_deref(),
        dry_run: args.dry_run,
        yes: args.yes,
        report: args.report,
        patience: args.patience,
    };
    Box::pin(all(global, &context, &given, &way, around)).await
}

/// How something is undone.
pub(super) struct Way<'a> {
    /// The JSON document's kind, and what the summary calls it.
    pub(super) kind: &'static str,
    pub(super) name: &'static str,
    /// What is asked where it is not plainly whether to undo.
    pub(super) question: Option<&'a str>,
    /// This run and no other.
    pub(super) run: Option<&'a str>,
    pub(super) dry_run: bool,
    pub(super) yes: bool,
    pub(super) report: bool,
    pub(super) patience: Patience,
}

/// Undoes the last change of each resource of the findings, after showing it and asking.
pub(super) async fn all(
    global: &Global,
    context: &Context,
    given: &[Given],
    way: &Way<'_>,
    around: &mut Surroundings,
) -> Result<Exit> {
    let paint = paint(global, around);
    let as_text = global.format == Format::Text;
    let job = Job::new(Verb::Undo, true, context, way.patience);
    let mut items = work::all(context, &job, given, around).await?;
    if let Some(run) = way.run {
        items = items.into_iter().map(|item| only_run(item, run)).collect();
    }
    let pending = Counts::of(&of(&items)).pending();
    if as_text {
        head(around, paint, context, !way.dry_run)?;
    }
    if way.dry_run || pending == 0 {
        outcomes(around, global, paint, context, &items, (way.kind, way.name, "planned"))?;
        let told = tell(around, context, &items, way.report && !way.dry_run).await?;
        return Ok(output::exit(&of(&items)).and(told));
    }
    if as_text {
        entries(around, paint, &items)?;
        writeln!(around.out, "{}", paint.bold(&Counts::of(&of(&items)).line(way.name, "planned")))?;
    }
    let question = match (way.question, pending) {
        (Some(question), _) => question.to_owned(),
        (None, 1) => "Undo this?".to_owned(),
        (None, _) => format!("Undo these {pending} changes?"),
    };
    if !ask(around, &question, way.yes)? {
        writeln!(around.out, "Nothing was changed.")?;
        return Ok(output::exit(&of(&items)).and(Exit::Refused));
    }
    around.out.flush()?;
    let job = Job::new(Verb::Undo, false, context, way.patience);
    let planned: Vec<Option<Vec<String>>> =
        items.iter().map(|item| item.entry.pending().then(|| item.entry.notes.clone())).collect();
    let items = work::agreed(context, &job, items, around).await?;
    if as_text {
        writeln!(around.out)?;
        for (item, planned) in items.iter().zip(planned) {
            if let Some(notes) = planned {
                text::entry(&mut around.out, paint, &item.entry.clone().without(&notes))?;
            }
        }
        writeln!(around.out, "{}", paint.bold(&Counts::of(&of(&items)).line(way.name, "undone")))?;
    } else {
        outcomes(around, global, paint, context, &items, (way.kind, way.name, "undone"))?;
    }
    let told = tell(around, context, &items, way.report).await?;
    Ok(output::exit(&of(&items)).and(told))
}

/// The finding that a run was about, made of its records.
async fn by_run(context: &Context, run: &str) -> Result<Given> {
    let records = records(&*context.engine.store, run).await?;
    let last = records.last().ok_or_else(|| {
        let store = context.engine.store.name();
        Failure::input(format!("there is no run `{}` in {store}", shown(run)))
    })?;
    match finding(&last.subject) {
        Some(finding) => Ok(Given::finding("records", finding)),
        None => Err(Failure::input(format!("run `{}` has changed no resource", shown(run)))),
    }
}

/// The finding of the last run on a resource that can be undone.
async fn by_resource(context: &Context, resource: &str, control: Option<&str>) -> Result<Given> {
    last(context, resource, control).await?.ok_or_else(|| {
        let store = context.engine.store.name();
        let (account, region) = (&context.caller.account, &context.reach.region);
        let of = assumed(resource, account, region);
        Failure::input(format!("nothing to undo: no change of `{}`{of} is left in {store}", shown(resource)))
    })
}

/// The finding of the last run on a resource that can be undone, if there is one.
pub(super) async fn last(context: &Context, resource: &str, control: Option<&str>) -> Result<Option<Given>> {
    let control = control
        .map(str::parse::<ControlId>)
        .transpose()
        .map_err(|error| Failure::input(format!("--control: {error}")))?;
    let control = control.as_ref().map(ControlId::as_str);
    let mut last: Option<RunRef> = None;
    for key in keys(resource, &context.caller.account, &context.reach.region)? {
        let Some((run, _)) = undo::last(&*context.engine.store, REGISTRY, &key, control).await? else {
            continue;
        };
        if last.as_ref().is_none_or(|known| known.time < run.time) {
            last = Some(run);
        }
    }
    match last {
        Some(run) => by_run(context, &run.run).await.map(Some),
        None => Ok(None),
    }
}

/// A finding points to what is to be undone and says nothing else: its state, titles and tags are not asked
/// for.
fn finding(subject: &Subject) -> Option<Finding> {
    let reference = subject.finding.as_ref()?;
    let key: &Key = subject.resource.as_ref()?;
    let remediator = find(subject.remediator.as_deref()?)?;
    let kind = remediator.kind();
    // The account's own outcome says that none of its resources was to be changed.
    if remediator.of_account() && key.kind != kind.asff {
        return None;
    }
    let control = ControlId::parse(&subject.control)?;
    let ocsf = reference.metadata_uid.is_some();
    Some(Finding {
        id: reference.id.clone(),
        product_arn: reference.product.clone(),
        format: if ocsf { FindingFormat::Ocsf } else { FindingFormat::Asff },
        metadata_uid: reference.metadata_uid.clone(),
        title: control.info().map(|info| info.title.to_owned()).unwrap_or_default(),
        severity: control.info().map(|info| info.severity.to_owned()),
        control,
        account: subject.account.clone(),
        region: subject.region.clone(),
        partition: key.partition.clone(),
        compliance: Compliance::Unknown,
        record_state: RecordState::Active,
        workflow: Workflow::Notified,
        sample: false,
        resources: vec![FindingResource {
            kind: if kind.is_any() { key.kind.clone() } else { kind.asff.to_owned() },
            id: remediator.arn(key),
            id_alt: None,
            account: Some(key.account.clone()),
            region: (key.region != "global").then(|| key.region.clone()),
            partition: Some(key.partition.clone()),
            provider: None,
        }],
        control_parameters: None,
        note: None,
        user_defined_fields: BTreeMap::new(),
        updated_at: None,
        json: Arc::new(Value::Null),
    })
}

/// A run is undone only if it is the last for its control on its resource: what came after stands on it.
fn only_run(item: Item, run: &str) -> Item {
    match &item.entry.undoes {
        Some(last) if item.entry.pending() && last != run => {
            let why = format!(
                "run {} came after it for the same control: undo that one first (--run {})",
                shown(last),
                shown(last)
            );
            Item { entry: item.entry.not_begun(&why), outcome: None, ..item }
        }
        _ => item,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use serde_json::json;

    use super::*;

    fn finding_of(resource: &str) -> Option<Finding> {
        let subject = json!({
            "verb": "fix",
            "asked_by": { "door": "cli", "caller": "tester" },
            "finding": { "id": "f-1", "product": "p" },
            "control": "EC2.1",
            "remediator": "ec2.unshare_snapshot",
            "mode": "apply",
            "account": "123456789012",
            "region": "eu-west-1",
            "resource": resource,
        });
        finding(&serde_json::from_value(subject).unwrap())
    }

    /// Of an account's finding, what its runs have changed can be undone; that there was nothing to change can't.
    #[test]
    fn the_resource_of_a_run_is_undone_and_not_its_account() {
        let found = finding_of("aws/123456789012/eu-west-1/AwsEc2Snapshot/snap-0123456789abcdef0").unwrap();
        let [resource] = found.resources.as_slice() else { unreachable!("{found:?}") };
        assert_eq!(resource.id, "arn:aws:ec2:eu-west-1::snapshot/snap-0123456789abcdef0");
        assert_eq!(resource.account.as_deref(), Some("123456789012"));
        assert_eq!(finding_of("aws/123456789012/eu-west-1/AwsAccount/123456789012"), None);
    }
}
