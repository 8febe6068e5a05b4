//! A deployment's rules and ceiling, which bind commands that make its changes.

use std::sync::Arc;

use redress_remediators::{Error, ErrorKind};
use redress_router::{engine::Engine, event::shown};

use super::dispatcher::{self, Dispatcher};
use crate::{
    args::Global,
    context::{Context, Kept},
    exit::{Exit, Failure, Result},
    output::text,
};

/// The engine that makes changes. What is a deployment's is changed by its own rules, its exemptions among them, and
/// within its ceiling, or not at all: by other rules, a run of one that they don't have would be closed for good.
///
/// # Errors
/// Where the function can't be read, or the rules at hand are others than its own.
pub(super) async fn engine_for(global: &Global, context: &Context) -> Result<Arc<Engine>> {
    let Some(deployment) = &global.deployment else {
        if matches!(context.kept, Kept::Deployed) && global.rules.is_none() {
            return Err(Failure::input(
                "two tables don't say by which rules a deployment goes: give them by --rules, or the deployment by \
                 --deployment",
            ));
        }
        return Ok(Arc::clone(&context.engine));
    };
    let name = format!("{deployment}-dispatcher");
    let found = Box::pin(Dispatcher::read(&context.reach.aws, &name)).await;
    let found = found.map_err(|error| unread(&error, context, &name))?;
    if let Some(why) = found.hidden() {
        let what = format!("{}: its variables can't be read: {}", shown(&name), shown(why));
        return Err(Failure::new(Exit::Denied, what));
    }
    let settings = found.settings().map_err(|error| Failure::from(error).context(&shown(&name)))?;
    let own = &*context.engine.rules.hash;
    let theirs = settings.rules_hash.as_deref();
    if theirs != Some(own) {
        let source = text::whole(&context.rules_source);
        let theirs = theirs.map_or("are not known (REDRESS_RULES_HASH)".to_owned(), |hash| {
            format!("have the hash {}", shown(hash))
        });
        return Err(Failure::input(format!(
            "the rules at hand ({source}) have the hash {own}, and those of deployment `{}` {theirs}: give the files \
             that it was made of by --rules",
            shown(deployment)
        )));
    }
    Ok(Arc::new(context.engine_of(&settings)))
}

/// That the function was not to be read.
fn unread(error: &Error, context: &Context, name: &str) -> Failure {
    let (name, why) = (shown(name), shown(&error.message));
    let (account, region) = (&context.caller.account, &context.reach.region);
    match error.kind {
        ErrorKind::NotFound => Failure::input(format!(
            "there is no function `{name}` in account {account}, Region {region}: give the --deployment and --region \
             of a deployment"
        )),
        ErrorKind::Denied => {
            let action = dispatcher::READS;
            let what =
                format!("the rules and the ceiling of `{name}` can't be read: let the caller use {action}");
            Failure::new(Exit::Denied, format!("{what} ({why})"))
        }
        _ => {
            Failure::new(Exit::Failed, format!("the rules and the ceiling of `{name}` can't be read: {why}"))
        }
    }
}
