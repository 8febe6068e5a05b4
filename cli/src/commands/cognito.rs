//! `redress cognito`: Cognito user pools, one file a command.

mod attach;
mod backfill;
mod reconcile;
mod restore;
mod status;
mod users;

use std::sync::Arc;

use aws_sdk_cognitoidentityprovider::Client;
use redress_activity::trigger::is_pool;
use redress_remediators::Error;
use redress_router::{activity::ActivityTable, event::shown};

use crate::{
    Surroundings,
    args::{Cognito, Global},
    context::{Context, Reach},
    exit::{Exit, Failure, Result},
};

pub(crate) async fn run(global: &Global, command: &Cognito, around: &mut Surroundings) -> Result<Exit> {
    let global = &with_table(global);
    match command {
        Cognito::Attach(args) => Box::pin(attach::attach(global, args, around)).await,
        Cognito::Detach(args) => Box::pin(attach::detach(global, args, around)).await,
        Cognito::Status(args) => Box::pin(status::run(global, args, around)).await,
        Cognito::Restore(args) => Box::pin(restore::run(global, args, around)).await,
        Cognito::Reconcile(args) => Box::pin(reconcile::run(global, args, around)).await,
        Cognito::Backfill(args) => Box::pin(backfill::run(global, args, around)).await,
    }
}

/// The options, with the activity table that a deployment's name implies. Not every deployment has one, so that
/// commands which can do without it are not to ask for it.
pub(super) fn with_table(global: &Global) -> Global {
    let implied = || global.deployment.as_ref().map(|name| format!("{name}-activity"));
    Global { activity_table: global.activity_table.clone().or_else(implied), ..global.clone() }
}

/// The id of a pool, if it can be one of this Region.
fn pool<'a>(text: &'a str, region: &str) -> Result<&'a str> {
    if !is_pool(text) {
        return Err(Failure::input(format!("`{}` is no user pool's id", shown(text))));
    }
    // An id begins with its Region; those of emulators need not.
    let of = text.split_once('_').map_or("", |(of, _)| of);
    if of != region && of.ends_with(|last: char| last.is_ascii_digit()) && of.matches('-').count() >= 2 {
        return Err(Failure::input(format!("the pool `{text}` is in `{of}`: give --region {of}")));
    }
    Ok(text)
}

fn client(reach: &Reach) -> Client {
    Client::new(&reach.aws)
}

/// What came of a call that failed, and what it was for.
fn failed(error: impl Into<Error>, what: &str) -> Failure {
    Failure::from(error.into()).context(what)
}

/// The activity table, without which there is nothing to say about users.
fn activity(context: &Context) -> Result<Arc<ActivityTable>> {
    context.activity.clone().ok_or_else(|| {
        Failure::input(
            "no activity table: give --deployment NAME, whose table is NAME-activity; or --activity-table (or \
             REDRESS_ACTIVITY_TABLE)",
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn a_deployments_activity_table_is_taken_unless_another_is_named() {
        let table = |said: &[&str]| {
            let cli = Cli::try_parse_from([&["redress", "cognito", "status"], said].concat()).unwrap();
            with_table(&cli.global).activity_table
        };
        assert_eq!(table(&[]), None);
        assert_eq!(table(&["--deployment", "team"]).as_deref(), Some("team-activity"));
        assert_eq!(table(&["--deployment", "team", "--activity-table", "users"]).as_deref(), Some("users"));
    }
}
