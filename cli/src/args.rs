//! The arguments.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum, builder::PossibleValuesParser};
use jiff::civil::Date;

use crate::exit;

/// Turns AWS Security Hub findings into safe, typed, reversible fixes.
#[derive(Debug, Parser)]
#[command(name = "redress", version, after_help = exit::TABLE, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// For how many days a deployment may keep records: `REDRESS_RETENTION_DAYS` of its function takes no more.
const LONGEST_RETENTION: i64 = 36_500;

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Profile of the AWS configuration files
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Region to call; else AWS_REGION or the profile's
    #[arg(long, global = true, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// Endpoint of every AWS service, such as an emulator's
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) endpoint_url: Option<String>,
    /// Rules file, or a folder of them; else the rules built in
    #[arg(long, global = true, value_name = "PATH", env = "REDRESS_RULES", hide_env_values = true)]
    pub(crate) rules: Option<PathBuf>,
    /// Use a deployment's leases, holds, kill switch and history: its tables NAME-state and NAME-audit
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "state_dir")]
    pub(crate) deployment: Option<String>,
    /// DynamoDB table of leases, holds and stops; instead of --deployment
    #[arg(long, global = true, value_name = "TABLE", env = "REDRESS_STATE_TABLE", hide_env_values = true)]
    pub(crate) state_table: Option<String>,
    /// DynamoDB table of records; instead of --deployment
    #[arg(long, global = true, value_name = "TABLE", env = "REDRESS_AUDIT_TABLE", hide_env_values = true)]
    pub(crate) audit_table: Option<String>,
    /// DynamoDB table of users' last activity; without it, `cognito` takes NAME-activity of --deployment, and other
    /// commands refuse inactive users
    #[arg(long, global = true, value_name = "TABLE", env = "REDRESS_ACTIVITY_TABLE", hide_env_values = true)]
    pub(crate) activity_table: Option<String>,
    /// For how many days records stay that are written to a deployment's tables: as many as its own do
    #[arg(long, global = true, value_name = "DAYS", env = "REDRESS_RETENTION_DAYS", hide_env_values = true,
        default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=LONGEST_RETENTION))]
    pub(crate) retention_days: u32,
    /// Where state and records are kept without a deployment [default: $XDG_STATE_HOME/redress, else
    /// ~/.local/state/redress]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Role to assume in the finding's account, narrowed by a session policy to the one fix
    #[arg(long, global = true, value_name = "NAME", env = "REDRESS_MEMBER_ROLE", hide_env_values = true)]
    pub(crate) role: Option<String>,
    /// External id that the role asks for
    #[arg(long, global = true, value_name = "ID", env = "REDRESS_EXTERNAL_ID", hide_env_values = true)]
    pub(crate) external_id: Option<String>,
    /// Colour in what is printed; NO_COLOR turns it off too
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Text for people, or JSON by docs/json-output.md
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
}

/// When colour is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal
    Auto,
    Always,
    Never,
}

/// What results are printed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what would be changed; nothing is written
    Plan(Plan),
    /// Make the changes that clear findings, after asking
    ///
    /// A single FILE may also be a plan that `plan --out` wrote. With --deployment, changes are made by no other rules
    /// and exemptions than the deployment's, and no further than its ceiling; its function is asked for both. With
    /// --state-table and --audit-table there is no function to ask: --rules must be given, and no ceiling holds.
    Apply(Apply),
    /// Put back what the last run on a resource has changed, after asking
    Undo(Undo),
    /// Go on with runs that were cut off, after asking
    ///
    /// With --deployment, by no other rules than the deployment's and no further than its ceiling; its function is
    /// asked for both. With --state-table and --audit-table there is no function to ask: --rules must be given, and
    /// no ceiling holds.
    Recover(Recover),
    /// Stop all changes by every door, or those of one rule or account, until `resume`
    Stop(Stop),
    /// Lift a stop
    Resume(Scope),
    /// Show what was done, by whom and why, and whether the records are whole
    History(History),
    /// Tell all about a control or a remediator
    Explain(Explain),
    /// List the controls that can be fixed
    Controls(Controls),
    /// Check or test rules
    #[command(subcommand)]
    Rules(Rules),
    /// Print the least IAM policy that a remediator needs
    Policy(Policy),
    /// Record users' activity in Cognito user pools, and look after those who are inactive
    #[command(subcommand)]
    Cognito(Cognito),
    /// Look at a deployment (--deployment, else `redress`): whether all of it is as it should be, and how to mend what
    /// is not; nothing is written. With --rules, whether these are the deployed rules
    Doctor,
    /// Show the way of a finding in an AWS account inside this process: no account or network is needed
    Demo(Demo),
    /// Print a completion script for a shell
    Completions(Completions),
}

/// Which findings.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Findings {
    /// Files with findings, or `-` for standard input: an EventBridge event, findings (ASFF or OCSF), a
    /// page of get-findings, JSON lines
    #[arg(value_name = "FILE", conflicts_with_all = ["control", "severity", "resource", "account"])]
    pub(crate) files: Vec<PathBuf>,
    /// Ask Security Hub for failed findings of this control; repeat for more
    #[arg(long, value_name = "CONTROL")]
    pub(crate) control: Vec<String>,
    /// Ask Security Hub for failed findings of this severity; repeat for more
    #[arg(long, value_name = "LABEL", ignore_case = true,
        value_parser = PossibleValuesParser::new(["critical", "high", "medium", "low", "informational"]))]
    pub(crate) severity: Vec<String>,
    /// Ask Security Hub for failed findings about this resource (its ARN); repeat for more
    #[arg(long, value_name = "ARN")]
    pub(crate) resource: Vec<String>,
    /// Ask Security Hub for failed findings of this account; repeat for more
    #[arg(long, value_name = "ID")]
    pub(crate) account: Vec<String>,
}

impl Findings {
    pub(crate) fn is_live(&self) -> bool {
        !(self.control.is_empty()
            && self.severity.is_empty()
            && self.resource.is_empty()
            && self.account.is_empty())
    }
}

/// How long to try.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Patience {
    /// Time for each resource, retries included, such as `90s` or `5m`
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Resources worked on at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) parallel: u8,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) findings: Findings,
    /// Write the plan to a file that `apply` takes
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Exit with 2 where changes are pending
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) findings: Findings,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Write the outcome to the findings, as a custom action does
    #[arg(long)]
    pub(crate) report: bool,
    /// How old a plan file may be, such as `36h`
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    pub(crate) max_age: Duration,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

#[derive(Debug, Args)]
pub(crate) struct Undo {
    /// Files with findings, or `-` for standard input
    #[arg(value_name = "FILE", conflicts_with_all = ["run", "resource"])]
    pub(crate) files: Vec<PathBuf>,
    /// The run to undo
    #[arg(long, value_name = "ID", conflicts_with = "resource")]
    pub(crate) run: Option<String>,
    /// The resource whose last change to undo: its ARN or key
    #[arg(long, value_name = "ARN")]
    pub(crate) resource: Option<String>,
    /// With --resource: the change that this control asked for
    #[arg(long, value_name = "CONTROL", requires = "resource")]
    pub(crate) control: Option<String>,
    /// Show what would be undone; nothing is written
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Write the outcome to the findings, as a custom action does
    #[arg(long)]
    pub(crate) report: bool,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

#[derive(Debug, Args)]
pub(crate) struct Recover {
    /// Show what was cut off, and what is under way; nothing is written
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Time for all runs together, such as `5m`
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub(crate) timeout: Duration,
}

impl Command {
    /// Whether it has only something to say, and its exit code nothing.
    pub(crate) fn only_shows(&self) -> bool {
        match self {
            Self::Explain(_) | Self::Controls(_) | Self::Policy(_) | Self::Completions(_) => true,
            Self::History(history) => !history.verify,
            Self::Plan(_)
            | Self::Apply(_)
            | Self::Undo(_)
            | Self::Recover(_)
            | Self::Stop(_)
            | Self::Resume(_)
            | Self::Rules(_)
            | Self::Cognito(_)
            | Self::Doctor
            | Self::Demo(_) => false,
        }
    }
}

/// What a stop is for; everything without options.
#[derive(Clone, Debug, Args)]
pub(crate) struct Scope {
    /// Only what this rule does
    #[arg(long, value_name = "RULE", conflicts_with = "account")]
    pub(crate) rule: Option<String>,
    /// Only findings of this account
    #[arg(long, value_name = "ID")]
    pub(crate) account: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// Why; shown to everybody who is stopped by it
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) why: String,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("by").args(["run", "resource", "finding", "account"]))]
pub(crate) struct History {
    /// One run, with all its records and calls
    #[arg(long, value_name = "ID")]
    pub(crate) run: Option<String>,
    /// Runs on a resource: its ARN or key
    #[arg(long, value_name = "ARN")]
    pub(crate) resource: Option<String>,
    /// Runs about a finding: its id
    #[arg(long, value_name = "ID")]
    pub(crate) finding: Option<String>,
    /// Runs about findings of an account; else of the caller's
    #[arg(long, value_name = "ID")]
    pub(crate) account: Option<String>,
    /// At most so many runs, newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
    /// Check every record of these runs (without a choice, of all that are kept), and show only what is wrong
    #[arg(long, conflicts_with = "limit")]
    pub(crate) verify: bool,
    /// With --verify: a second copy to check against: the dispatcher's log, exported; objects of the archive; a copy
    /// of `audit.jsonl`; or a folder of these
    #[arg(long, value_name = "PATH", requires = "verify")]
    pub(crate) against: Option<PathBuf>,
    /// With --against: for how many days the deployment keeps records [default: --retention-days]
    #[arg(long, value_name = "DAYS", requires = "against", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) retention: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A control such as S3.14, or a remediator such as s3.enable_versioning
    #[arg(value_name = "CONTROL|REMEDIATOR")]
    pub(crate) what: String,
}

#[derive(Debug, Args)]
pub(crate) struct Controls {
    /// Also those that Security Hub has and redress can't fix
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rules {
    /// Check rules and exemptions; without PATH, those of --rules, else the rules built in
    Check {
        /// A rules file, or a folder of them
        path: Option<PathBuf>,
    },
    /// Run the tests that stand beside rules
    Test {
        /// A tests file (`NAME-tests.yaml`), the rules file that it is for, or a folder of them
        path: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Policy {
    /// The remediator, such as s3.enable_versioning
    pub(crate) remediator: String,
    /// What it is to be allowed
    #[arg(long, default_value = "apply")]
    pub(crate) access: PolicyAccess,
    /// For this one resource (ARN or key); else for all of the account
    #[arg(long, value_name = "ARN")]
    pub(crate) resource: Option<String>,
    /// The account that the ARNs name, with no --resource [default: any]
    #[arg(long, value_name = "ID")]
    pub(crate) account: Option<String>,
}

/// How far a policy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyAccess {
    /// Reads
    Plan,
    /// Reads and the fix's writes
    Apply,
    /// Those, and what only the way back needs
    Undo,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cognito {
    /// Make a pool call the sign-in recorder, after asking; all its other settings stay
    Attach(Attach),
    /// Make a pool call the sign-in recorder no more, after asking; all its other settings stay
    Detach(Detach),
    /// Give every user without a row in the activity table one; users who have one keep it
    Backfill(Backfill),
    /// Show how many users of a pool are active, due, warned, disabled or exempt
    Status(Status),
    /// Enable a user again whom redress has disabled, and give it its time anew, after asking
    Restore(Restore),
    /// Look after sign-ins that could not be recorded, after asking
    Reconcile(Reconcile),
}

#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// The pool's id
    pub(crate) pool: String,
    /// The sign-in recorder: the ARN of the function, or of an alias of it
    #[arg(long, value_name = "ARN")]
    pub(crate) recorder: String,
    /// When it is called; without pre-token-generation, neither renewed sessions nor the first sign-in by an
    /// identity provider are seen
    #[arg(
        long,
        value_name = "TRIGGER",
        value_delimiter = ',',
        default_value = "post-authentication,post-confirmation,pre-token-generation"
    )]
    pub(crate) triggers: Vec<Trigger>,
    /// Show what would be changed; nothing is written
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask. The function must let the pool call it by then, or every sign-in of the pool fails
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Detach {
    /// The pool's id
    pub(crate) pool: String,
    /// The sign-in recorder: the ARN of the function, or of an alias of it
    #[arg(long, value_name = "ARN")]
    pub(crate) recorder: String,
    /// Show what would be changed; nothing is written
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Backfill {
    /// The pools' ids
    #[arg(required = true, value_name = "POOL")]
    pub(crate) pools: Vec<String>,
    /// Write the rows; without it they are only counted
    #[arg(long)]
    pub(crate) apply: bool,
    /// Over how many days from now those are spread who count as inactive already
    #[arg(long, value_name = "DAYS", default_value_t = 14, value_parser = clap::value_parser!(u16).range(0..=365))]
    pub(crate) spread: u16,
    /// Ask Cognito for each user's last sign-in, which it keeps for pools with threat protection; ten users a
    /// second
    #[arg(long)]
    pub(crate) auth_events: bool,
    /// Go on where an earlier run with --apply was broken off
    #[arg(long, requires = "apply")]
    pub(crate) resume: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// The pools' ids; without any, all that have rows, for which the whole table is read
    #[arg(value_name = "POOL")]
    pub(crate) pools: Vec<String>,
    /// Also list the pool's users, to find those without a row
    #[arg(long)]
    pub(crate) users: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The user: its `sub`, or its name in the pool
    pub(crate) user: String,
    /// The pool's id
    #[arg(long, value_name = "POOL")]
    pub(crate) pool: String,
    /// Give a user its time anew whom redress has not disabled
    #[arg(long)]
    pub(crate) reset_clock: bool,
    /// Show what would be done; nothing is written
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

#[derive(Debug, Args)]
pub(crate) struct Reconcile {
    /// The pool's id
    pub(crate) pool: String,
    /// Only this day, of UTC
    #[arg(long, value_name = "YYYY-MM-DD", conflicts_with = "since")]
    pub(crate) day: Option<Date>,
    /// Only days from this one on
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) since: Option<Date>,
    /// The recorder's log group
    #[arg(long, value_name = "NAME", conflicts_with = "log")]
    pub(crate) log_group: Option<String>,
    /// The recorder's log in a file, or `-` for standard input: its lines, or what `aws logs
    /// filter-log-events` prints
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Account for the days without a look at the log
    #[arg(long, requires = "reason", conflicts_with_all = ["log", "log_group"])]
    pub(crate) waive: bool,
    /// Why the days are waived; it is kept with the caller's ARN
    #[arg(long, value_name = "TEXT", requires = "waive",
        value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) reason: Option<String>,
    /// Show what would be done; nothing is written
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

/// When Cognito calls the recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Trigger {
    PostAuthentication,
    PostConfirmation,
    PreTokenGeneration,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Wait for Enter between steps
    #[arg(long)]
    pub(crate) pause: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// Reads a length of time: numbers with `s`, `m`, `h` or `d`, such as `36h` or `1d12h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let fault = || "not a time such as `90s`, `5m`, `36h` or `1d12h`".to_owned();
    let mut seconds: u64 = 0;
    let mut number = String::new();
    for character in text.chars() {
        if character.is_ascii_digit() {
            number.push(character);
            continue;
        }
        let unit = match character {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(fault()),
        };
        let part = number.parse::<u64>().map_err(|_| fault())?.checked_mul(unit).ok_or_else(fault)?;
        seconds = seconds.checked_add(part).ok_or_else(fault)?;
        number.clear();
    }
    // Longer than any use, and short enough for every clock to be added to.
    if !number.is_empty() || seconds == 0 || seconds > 10 * 366 * 86_400 {
        return Err(fault());
    }
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn records_stay_for_as_long_as_is_said() {
        let days = |said: &[&str]| {
            let parsed = Cli::try_parse_from([&["redress", "history"], said].concat());
            parsed.map(|cli| cli.global.retention_days)
        };
        assert_eq!(days(&[]).unwrap(), 400);
        assert_eq!(days(&["--retention-days", "36500"]).unwrap(), 36_500);
        for wrong in ["0", "36501", "1.5", "long"] {
            assert!(days(&["--retention-days", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_read_and_nothing_else() {
        let seconds = |text| duration(text).map(|time| time.as_secs());
        assert_eq!(seconds("90s").unwrap(), 90);
        assert_eq!(seconds("36h").unwrap(), 129_600);
        assert_eq!(seconds("1d12h").unwrap(), 129_600);
        for text in
            ["", "5", "h", "5x", "-5m", "1.5h", "0s", "99999999999999999999d", "9999999999999d", "5m3"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
