//! `redress cognito attach` and `detach`: makes a pool call the sign-in recorder, or call it no more.
//!
//! The pool's other settings go back as they came ([`settings`]), and are read and compared once more.

use std::{collections::BTreeSet, io::Write as _, path::PathBuf};

use aws_sdk_cognitoidentityprovider::Client;
use clap::ValueEnum as _;
use jiff::Timestamp;
use redress_remediators::{
    Change,
    body::Answer,
    cognito::settings::{self, RESTLESS, Settings},
};
use redress_router::event::shown;
use serde_json::{Map, Value, json};

use crate::{
    Surroundings,
    args::{Attach, Detach, Format, Global, Trigger},
    commands::{ask, asks_nothing_in_json},
    context::{Reach, directory, paint},
    exit::{Exit, Failure, Result},
    output::{Line, Paint, json, lines, text},
    plan_file,
};

use super::{client, failed, pool};

/// What a pool's triggers are to be.
struct Order<'a> {
    pool: &'a str,
    recorder: &'a str,
    triggers: &'a [Trigger],
    way: Way,
    dry_run: bool,
    yes: bool,
}

/// Whether the pool is to call the recorder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Attach,
    Detach,
}

pub(crate) async fn attach(global: &Global, args: &Attach, around: &mut Surroundings) -> Result<Exit> {
    let Attach { pool, recorder, triggers, dry_run, yes } = args;
    let (way, dry_run, yes) = (Way::Attach, *dry_run, *yes);
    run(global, &Order { pool, recorder, triggers, way, dry_run, yes }, around).await
}

pub(crate) async fn detach(global: &Global, args: &Detach, around: &mut Surroundings) -> Result<Exit> {
    let Detach { pool, recorder, dry_run, yes } = args;
    let (way, dry_run, yes) = (Way::Detach, *dry_run, *yes);
    run(global, &Order { pool, recorder, triggers: Trigger::value_variants(), way, dry_run, yes }, around)
        .await
}

async fn run(global: &Global, args: &Order<'_>, around: &mut Surroundings) -> Result<Exit> {
    asks_nothing_in_json(global, args.yes || args.dry_run)?;
    let reach = Reach::new(global, around).await?;
    let id = pool(args.pool, &reach.region)?;
    let caller = reach.caller().await?;
    let recorder = recorder(args.recorder, &reach.region, &caller.account)?;
    let cognito = client(&reach);
    let before = describe(&cognito, id).await?;
    own(&before.pool, id, &caller.account)?;
    let plan = Plan::new(&before.pool, recorder, args)?;
    let mut report = Report {
        pool: id,
        recorder,
        way: args.way,
        permission: permission(recorder, &before.pool, &caller.account),
        plan: &plan,
        outcome: if plan.changes.is_empty() { "compliant" } else { "planned" },
        differences: Vec::new(),
        backup: None,
    };
    let paint = paint(global, around);
    let as_text = global.format == Format::Text;
    if as_text {
        report.planned(around, paint)?;
    }
    if plan.changes.is_empty() || args.dry_run {
        return report.end(global, around, paint, Exit::Done);
    }
    let question = match args.way {
        Way::Attach => "Has the function the permission above, and shall the pool call it?",
        Way::Detach => "Shall the pool call it no more?",
    };
    if !ask(around, question, args.yes)? {
        writeln!(around.out, "Nothing was changed.")?;
        return Ok(Exit::Refused);
    }
    // Nothing keeps others from changing the pool, so what was shown is what is written, or nothing is.
    let now = describe(&cognito, id).await?;
    if !differences(&before.pool, &now.pool, &[]).is_empty() {
        let why = "the pool's settings have changed since they were read; nothing was written: try again";
        return Err(Failure::new(Exit::Refused, why));
    }
    report.backup = keep(global, id, &plan.old);
    let written = settings::update(&cognito, id, &plan.new).await;
    let written = written.map_err(|error| failed(error, "UpdateUserPool"));
    let after = describe(&cognito, id).await.map_err(|failure| {
        failure.context("the update was sent, and the pool could not be read again to see what came of it")
    })?;
    report.differences = differences(&before.pool, &after.pool, args.triggers);
    report.differences.extend(lines(&Change { from: before.mfa, to: after.mfa }));
    if let Err(failure) = written {
        // An answer can be lost on its way back: what the pool says counts.
        if !is_done(&after.pool, recorder, args) && report.differences.is_empty() {
            return Err(failure.context("nothing was changed"));
        }
        writeln!(around.err, "redress: the update failed: {}", failure.message)?;
    }
    let (outcome, exit) = match (is_done(&after.pool, recorder, args), report.differences.is_empty()) {
        (true, true) => ("verified", Exit::Done),
        (false, true) => ("failed", Exit::Failed),
        (_, false) => ("altered", Exit::Failed),
    };
    report.outcome = outcome;
    report.end(global, around, paint, exit)
}

/// What is to be changed.
struct Plan {
    /// The whole of the update's request but for the pool's id; and the one that takes it back.
    new: Settings,
    old: Settings,
    changes: Vec<Line>,
    /// What is done already.
    already: Vec<Trigger>,
}

impl Plan {
    fn new(pool: &Settings, recorder: &str, order: &Order<'_>) -> Result<Self> {
        let old = settings::carried(pool).map_err(|what| unknown(&what))?;
        let mut new = old.clone();
        let empty = || Value::Object(Map::new());
        let config = new.entry("LambdaConfig").or_insert_with(empty);
        let Value::Object(config) = config else {
            return Err(unknown("`LambdaConfig` is no object"));
        };
        let mut already = Vec::new();
        let wanted: BTreeSet<Trigger> = order.triggers.iter().copied().collect();
        let mut taken = Vec::new();
        for trigger in wanted {
            let found = trigger.functions(config);
            if order.way == Way::Detach {
                trigger.unset(config, recorder);
            } else if found.is_empty() {
                trigger.set(config, recorder);
            } else if found.iter().all(|function| function == recorder) {
                already.push(trigger);
            } else {
                let found: Vec<String> = found.iter().map(|function| text::whole(function)).collect();
                taken.push(format!("{} calls {}", trigger.name(), found.join(" and ")));
            }
        }
        if !taken.is_empty() {
            let why = format!(
                "the pool's triggers are never overwritten, and {}: leave it out by --triggers, or have that \
                 function call the recorder",
                taken.join("; ")
            );
            return Err(Failure::new(Exit::Refused, why));
        }
        let triggers = |of: &Settings| of.get("LambdaConfig").cloned().unwrap_or_else(empty);
        let changes = lines(&Change { from: triggers(&old), to: triggers(&new) });
        Ok(Self { new, old, changes, already })
    }
}

fn unknown(what: &str) -> Failure {
    let why = format!(
        "the pool has a setting that an update might reset: {what}; nothing was written. Attach the triggers \
         where the pool is declared, or in the console"
    );
    Failure::new(Exit::Refused, why)
}

impl Trigger {
    /// The member of `LambdaConfig`.
    fn name(self) -> &'static str {
        match self {
            Self::PostAuthentication => "PostAuthentication",
            Self::PostConfirmation => "PostConfirmation",
            Self::PreTokenGeneration => "PreTokenGenerationConfig",
        }
    }

    /// The members that say which function is called.
    fn members(self) -> &'static [&'static str] {
        match self {
            Self::PostAuthentication => &["PostAuthentication"],
            Self::PostConfirmation => &["PostConfirmation"],
            // The older name knows only the first version of the event; Cognito shows both.
            Self::PreTokenGeneration => &["PreTokenGeneration", "PreTokenGenerationConfig"],
        }
    }

    /// The functions that are called; what can't be read counts as one.
    fn functions(self, config: &Settings) -> Vec<String> {
        let mut found = Vec::new();
        for member in self.members() {
            match config.get(*member) {
                None | Some(Value::Null) => {}
                Some(Value::String(function)) => found.push(function.clone()),
                Some(other) => {
                    let function = other.get("LambdaArn").and_then(Value::as_str);
                    found.push(function.map_or_else(|| other.to_string(), ToOwned::to_owned));
                }
            }
        }
        found
    }

    /// Leaves alone what calls another function.
    fn unset(self, config: &mut Settings, recorder: &str) {
        for member in self.members() {
            let alone =
                Settings::from_iter(config.get(*member).map(|value| ((*member).to_owned(), value.clone())));
            if self.functions(&alone).iter().any(|function| function == recorder) {
                config.remove(*member);
            }
        }
    }

    /// `PreTokenGenerationConfig` is what AWS asks of new triggers, and the first version of its event the one
    /// that every feature plan has. The recorder gives back whatever version it gets.
    fn set(self, config: &mut Settings, function: &str) {
        let value = match self {
            Self::PostAuthentication | Self::PostConfirmation => function.into(),
            Self::PreTokenGeneration => json!({ "LambdaVersion": "V1_0", "LambdaArn": function }),
        };
        config.insert(self.name().to_owned(), value);
    }
}

/// Whether the pool calls the recorder at all these triggers; or at none, where it is to call it no more.
fn is_done(pool: &Settings, recorder: &str, order: &Order<'_>) -> bool {
    let none = Settings::new();
    let config = match pool.get("LambdaConfig") {
        Some(Value::Object(config)) => config,
        _ => &none,
    };
    order.triggers.iter().all(|trigger| {
        let found = trigger.functions(config);
        match order.way {
            Way::Attach => !found.is_empty() && found.iter().all(|function| function == recorder),
            Way::Detach => found.iter().all(|function| function != recorder),
        }
    })
}

/// What differs between two descriptions of a pool, but for the triggers that were set.
fn differences(before: &Settings, after: &Settings, but: &[Trigger]) -> Vec<Line> {
    let settled = |pool: &Settings| {
        let mut pool = pool.clone();
        pool.retain(|name, value| !RESTLESS.contains(&name.as_str()) && !value.is_null());
        if let Some(Value::Object(config)) = pool.get_mut("LambdaConfig") {
            for member in but.iter().flat_map(|trigger| trigger.members()) {
                config.remove(*member);
            }
        }
        // No triggers, and none said.
        if pool.get("LambdaConfig").is_some_and(|config| config.as_object().is_some_and(Map::is_empty)) {
            pool.remove("LambdaConfig");
        }
        Value::Object(pool)
    };
    lines(&Change { from: settled(before), to: settled(after) })
}

/// A pool's settings as they travelled; what `SetUserPoolMfaConfig` sets is apart.
struct Described {
    pool: Settings,
    mfa: Value,
}

async fn describe(cognito: &Client, id: &str) -> Result<Described> {
    let pool = settings::describe(cognito, id).await.map_err(|error| failed(error, "DescribeUserPool"))?;
    let answer = Answer::default();
    let request = cognito.get_user_pool_mfa_config().user_pool_id(id).customize().interceptor(answer.clone());
    request.send().await.map_err(|error| failed(error, "GetUserPoolMfaConfig"))?;
    Ok(Described { pool, mfa: json_of(&answer)? })
}

/// The document of an answer.
fn json_of(answer: &Answer) -> Result<Value> {
    let unreadable =
        |error: String| Failure::new(Exit::Failed, format!("Cognito's answer can't be read: {error}"));
    let text = answer.text().map_err(|error| unreadable(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))
}

/// The ARN of a function or an alias, of this Region and account: Cognito calls no version by its number, and
/// pool, function and table belong together.
fn recorder<'a>(arn: &'a str, region: &str, account: &str) -> Result<&'a str> {
    let no = |why: &str| Err(Failure::input(format!("--recorder: `{}` {why}", shown(arn))));
    let parts: Vec<&str> = arn.split(':').collect();
    let (of, rest) = match parts.as_slice() {
        ["arn", _, "lambda", in_region, of, "function", rest @ ..] if *in_region == region => (*of, rest),
        ["arn", _, "lambda", _, _, "function", ..] => return no(&format!("is not in Region {region}")),
        _ => return no("is no ARN of a function"),
    };
    let legal = |name: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=128).contains(&name.len()) && name.bytes().all(fits)
    };
    if of != account {
        return no(&format!("is not in account {account}"));
    }
    match rest {
        [name] if legal(name) => Ok(arn),
        [name, alias] if legal(name) && legal(alias) && !alias.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(arn)
        }
        _ => no("is no ARN of a function or an alias"),
    }
}

/// The pool that was described must be the one that was meant.
fn own(pool: &Settings, id: &str, account: &str) -> Result<()> {
    let text = |name: &str| pool.get(name).and_then(Value::as_str).unwrap_or_default();
    let arn: Vec<&str> = text("Arn").split(':').collect();
    if text("Id") == id && arn.get(4) == Some(&account) {
        return Ok(());
    }
    let arn = shown(text("Arn"));
    Err(Failure::new(Exit::Refused, format!("`{arn}` is not the pool `{id}` of account {account}")))
}

/// The command that lets the pool call the function. Without it every sign-in of the pool fails.
fn permission(recorder: &str, pool: &Settings, account: &str) -> Vec<String> {
    let id = pool.get("Id").and_then(Value::as_str).unwrap_or_default();
    let arn = pool.get("Arn").and_then(Value::as_str).unwrap_or_default();
    let mut command = vec![
        "aws lambda add-permission".to_owned(),
        format!("--function-name {recorder}"),
        format!("--statement-id cognito-{id}"),
        "--action lambda:InvokeFunction".to_owned(),
        "--principal cognito-idp.amazonaws.com".to_owned(),
        format!("--source-arn {}", shown(arn)),
        format!("--source-account {account}"),
    ];
    if let Some(region) = recorder.split(':').nth(3) {
        command.push(format!("--region {region}"));
    }
    command
}

/// Keeps the settings as they were, where something goes wrong: the file that would take it all back.
fn keep(global: &Global, id: &str, settings: &Settings) -> Option<PathBuf> {
    let dir = directory(global)?.join("cognito");
    let path = dir.join(format!("{id}-{}.json", Timestamp::now().strftime("%Y%m%dT%H%M%SZ")));
    let mut body = settings.clone();
    body.insert("UserPoolId".to_owned(), id.into());
    let text = serde_json::to_string_pretty(&body).ok()?;
    std::fs::create_dir_all(&dir).and_then(|()| plan_file::private(&path, &text)).ok()?;
    Some(path)
}

struct Report<'a> {
    pool: &'a str,
    recorder: &'a str,
    way: Way,
    permission: Vec<String>,
    plan: &'a Plan,
    outcome: &'static str,
    /// What else has changed.
    differences: Vec<Line>,
    backup: Option<PathBuf>,
}

impl Report<'_> {
    fn planned(&self, around: &mut Surroundings, paint: Paint) -> Result<()> {
        let out = &mut around.out;
        writeln!(out, "Pool      {}", self.pool)?;
        writeln!(out, "Recorder  {}", self.recorder)?;
        for trigger in &self.plan.already {
            writeln!(out, "    {} calls it already", trigger.name())?;
        }
        for line in &self.plan.changes {
            text::change(out, paint, line)?;
        }
        if self.way == Way::Detach {
            return Ok(());
        }
        writeln!(
            out,
            "\nThe function must let the pool call it, or every sign-in of the pool fails. If it does not yet:\n  {}\n",
            self.permission.join(" \\\n    ")
        )?;
        Ok(())
    }

    fn end(&self, global: &Global, around: &mut Surroundings, paint: Paint, exit: Exit) -> Result<Exit> {
        if global.format == Format::Json {
            let mut document = json!({
                "schema": "redress.cognito-detach/1",
                "pool": self.pool,
                "recorder": self.recorder,
                "outcome": self.outcome,
                "changes": self.plan.changes,
                "differences": self.differences,
                "backup": self.backup,
            });
            if self.way == Way::Attach {
                document["schema"] = "redress.cognito-attach/1".into();
                document["permission"] = self.permission.join(" ").into();
            }
            json::print(&mut around.out, &document)?;
            return Ok(exit);
        }
        let out = &mut around.out;
        let (calls, calls_not) = match self.way {
            Way::Attach => ("calls the recorder", "does not call the recorder"),
            Way::Detach => ("does not call the recorder", "still calls the recorder"),
        };
        match self.outcome {
            "compliant" => writeln!(out, "Nothing to do: the pool {calls}.")?,
            "planned" => writeln!(out, "Nothing was written.")?,
            "verified" => {
                writeln!(out, "Done: the pool {calls}, and all its other settings are as they were.")?;
            }
            "failed" => {
                writeln!(out, "The pool {calls_not}; its other settings are as they were.")?;
            }
            _ => {
                writeln!(out, "{}", paint.bold("OTHER SETTINGS OF THE POOL HAVE CHANGED:"))?;
                for line in &self.differences {
                    text::change(out, paint, line)?;
                }
                writeln!(
                    out,
                    "Somebody has changed them at the same time, or Cognito has reset them. If nobody has, put \
                     them back, which also takes back what was done to the triggers:"
                )?;
                let file = self.backup.as_ref().map_or("FILE".to_owned(), |path| path.display().to_string());
                writeln!(out, "  aws cognito-idp update-user-pool --cli-input-json file://{file}")?;
            }
        }
        Ok(exit)
    }
}
