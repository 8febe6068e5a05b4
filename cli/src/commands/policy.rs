//! `redress policy`: the least IAM policy of a remediator.

use redress_remediators::{Access, Key, REGISTRY, find, policy};
use redress_router::{event::shown, rules::suggest};

use crate::{
    Surroundings,
    args::{Global, Policy, PolicyAccess},
    context::{Reach, account, keys},
    exit::{Exit, Failure, Result},
    output::json,
};

pub(crate) async fn run(global: &Global, args: &Policy, around: &mut Surroundings) -> Result<Exit> {
    let remediator = find(&args.remediator).ok_or_else(|| {
        let names = REGISTRY.iter().map(|known| known.spec().name);
        let given = &args.remediator;
        Failure::input(format!("there is no remediator `{}`; {}", shown(given), suggest(given, names)))
    })?;
    let access = match args.access {
        PolicyAccess::Plan => Access::Plan,
        PolicyAccess::Apply => Access::Apply,
        PolicyAccess::Undo => Access::Undo,
    };
    let kind = remediator.kind();
    let key = match &args.resource {
        Some(text) if text.starts_with("arn:") => {
            let reach = Reach::new(global, around).await?;
            let caller = reach.caller().await?;
            own(remediator, keys(text, &caller.account, &reach.region)?, text)?
        }
        Some(text) => own(remediator, keys(text, "", "")?, text)?,
        None => {
            let of = match &args.account {
                Some(id) => account(id).map_err(|failure| failure.context("--account"))?,
                None => "*",
            };
            let region = global.region.as_deref().unwrap_or("us-east-1");
            Key::any(redress_router::aws::partition_of(region), of, kind.asff)
        }
    };
    json::print(&mut around.out, &policy(remediator, access, &key))?;
    Ok(Exit::Done)
}

/// The key that is of the remediator's kind of resource: its ARN leads back to it.
fn own(remediator: &dyn redress_remediators::Erased, keys: Vec<Key>, text: &str) -> Result<Key> {
    let kind = remediator.kind();
    let fits = |key: &Key| {
        if kind.is_any() {
            return true;
        }
        let arn = key.fill(kind.arn);
        let region = if key.region == "global" { "us-east-1" } else { &key.region };
        let seen = redress_remediators::Sighting {
            kind: kind.asff,
            id: &arn,
            id_alt: None,
            account: &key.account,
            region,
            partition: &key.partition,
        };
        remediator.locate(&seen).is_ok_and(|located| located == *key)
    };
    keys.into_iter().find(fits).ok_or_else(|| {
        let (text, name) = (shown(text), remediator.spec().name);
        Failure::input(format!("`{text}` is no {} that `{name}` could fix", kind.asff))
    })
}
