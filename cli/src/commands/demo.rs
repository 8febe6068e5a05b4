//! `redress demo`: the way of a finding, told step by step on an AWS account inside this process.
//!
//! Every command it shows is run as if it had been typed, by the same code; only AWS is the embedded
//! sandbox. After each step it looks at the resources itself, and ends with an error where one is not as
//! told.

use std::{
    io::{self, Write},
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use clap::Parser as _;
use redress_router::control::INACTIVE_USER;
use redress_sandbox::{
    account::{Furnished, furnish},
    emulator::Emulator,
    findings::{ComplianceStatus, ControlFinding},
    securityhub::SecurityHub,
    tables,
};
use serde_json::{Value, json};

use crate::{
    Surroundings,
    args::{Cli, Demo, Global},
    context::paint,
    exit::{Exit, Failure, Result},
    output::{Paint, text},
};

const ACCOUNT: &str = "123456789012";
const REGION: &str = "eu-west-1";
const ACTIVITY: &str = "demo-activity";

pub(crate) async fn run(global: &Global, args: &Demo, around: &mut Surroundings) -> Result<Exit> {
    let paint = paint(global, around);
    let stage = Stage::new().await?;
    let mut show = Show { around, paint, stage: &stage, pause: args.pause, step: 0 };
    show.account()?;
    show.plan().await?;
    let run = show.apply().await?;
    show.told()?;
    show.history(&run).await?;
    show.undo(&run).await?;
    show.group().await?;
    show.guard().await?;
    show.rest().await?;
    show.end()?;
    Ok(Exit::Done)
}

/// AWS in this process, and a folder for state and records.
struct Stage {
    emulator: Emulator,
    hub: SecurityHub,
    made: Furnished,
    dir: PathBuf,
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What is left in the folder for temporary files is no reason to fail.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn failed(what: &str) -> impl Fn(String) -> Failure {
    move |why| Failure::new(Exit::Failed, format!("demo: {what}: {why}"))
}

impl Stage {
    async fn new() -> Result<Self> {
        let hub = SecurityHub::new();
        let answering = hub.clone();
        let handler = Arc::new(move |request| answering.handle_request(&request).map(Into::into));
        let emulator = Emulator::new().with_service("securityhub", handler);
        let made = furnish(&emulator, ACCOUNT, REGION).await.map_err(|error| {
            failed("account")(format!("{error}: {:?}", std::error::Error::source(&error)))
        })?;
        let dir = std::env::temp_dir().join(format!("redress-demo-{}", uuid::Uuid::new_v4()));
        let stage = Self { emulator, hub, made, dir };
        stage.activity().await.map_err(failed("activity table"))?;
        let findings = stage.findings();
        stage.hub.import_as_aws(findings).map_err(failed("findings"))?;
        Ok(stage)
    }

    /// The table of users' last activity, with a user who was last seen long ago.
    async fn activity(&self) -> Result<(), String> {
        use aws_sdk_dynamodb::types::AttributeValue;
        let dynamodb = aws_sdk_dynamodb::Client::new(&self.emulator.sdk_config(ACCOUNT, REGION));
        let made = tables::make(&dynamodb, ACTIVITY, tables::ACTIVITY).await;
        made.map_err(|error| format!("{error:?}"))?;
        let text = |text: &str| AttributeValue::S(text.to_owned());
        dynamodb
            .put_item()
            .table_name(ACTIVITY)
            .item("userpool_id", text(&self.made.pool))
            .item("sub", text(&self.made.sub))
            .item("timestamp", text("2025-01-15T08:00:00Z"))
            .send()
            .await
            .map_err(|error| format!("{error:?}"))?;
        Ok(())
    }

    fn finding(&self, control: &str) -> ControlFinding {
        let made = &self.made;
        let (kind, id) = match control {
            "S3.14" => ("AwsS3Bucket", &made.unversioned.arn),
            "S3.13" => ("AwsS3Bucket", &made.without_lifecycle.arn),
            "S3.8" => ("AwsS3Bucket", &made.unblocked.arn),
            "S3.5" => ("AwsS3Bucket", &made.plaintext.arn),
            "EC2.12" => ("AwsEc2Eip", &made.address_arn),
            _ => ("AwsEc2SecurityGroup", &made.group_arn),
        };
        ControlFinding::new(control).account(ACCOUNT).region(REGION).resource(kind, id)
    }

    fn findings(&self) -> Vec<Value> {
        let controls = ["S3.14", "S3.13", "S3.8", "S3.5", "EC2.13", "EC2.19", "EC2.12"];
        let mut findings: Vec<Value> = controls.map(|control| self.finding(control).asff()).into();
        findings.push(self.inactive_user());
        findings
    }

    /// Redress's own kind of finding, as an account imports it for itself.
    fn inactive_user(&self) -> Value {
        let Furnished { pool_arn, sub, .. } = &self.made;
        let resource = format!("{pool_arn}/user/{sub}");
        let mut finding = ControlFinding::new(INACTIVE_USER)
            .account(ACCOUNT)
            .region(REGION)
            .title("Users of Cognito user pools should have been active lately")
            .resource("Other", &resource)
            .asff();
        finding["ProductArn"] =
            json!(format!("arn:aws:securityhub:{REGION}:{ACCOUNT}:product/{ACCOUNT}/default"));
        finding["Id"] = json!(format!("{INACTIVE_USER}/{sub}"));
        finding["GeneratorId"] = json!(INACTIVE_USER);
        finding["ProductName"] = json!("Default");
        finding["ProductFields"] = json!({});
        finding["Compliance"] = json!({ "Status": "FAILED" });
        finding
    }

    async fn versioning(&self) -> Result<String> {
        let reading = redress_remediators::find("s3.enable_versioning");
        let key = format!("aws/{ACCOUNT}/{REGION}/AwsS3Bucket/{}", self.made.unversioned.name);
        Ok(self.state(reading, &key).await?["status"].as_str().unwrap_or_default().to_owned())
    }

    /// The sources of the group's inbound rules, each with its port.
    async fn ingress(&self) -> Result<Vec<String>> {
        let reading = redress_remediators::find("ec2.restrict_ingress");
        let key = format!("aws/{ACCOUNT}/{REGION}/AwsEc2SecurityGroup/{}", self.made.group);
        let state = self.state(reading, &key).await?;
        let rules = state.as_array().or_else(|| state["rules"].as_array()).cloned().unwrap_or_default();
        let one = |rule: &Value| {
            let words = ["protocol", "from_port", "cidr_ipv4", "cidr_ipv6", "description"];
            let words = words.iter().filter_map(|name| rule.get(name).filter(|value| !value.is_null()));
            words
                .map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let mut rules: Vec<String> = rules.iter().map(one).collect();
        rules.sort();
        Ok(rules)
    }

    /// A resource's state, read past every command.
    async fn state(
        &self,
        remediator: Option<&'static dyn redress_remediators::Erased>,
        key: &str,
    ) -> Result<Value> {
        use redress_remediators::{Access, Aws, Connection};
        let remediator = remediator.ok_or_else(|| failed(key)("no remediator".to_owned()))?;
        let key = key.parse().map_err(|error| failed(key)(format!("{error}")))?;
        let connection = Connection::new(self.emulator.sdk_config(ACCOUNT, REGION));
        Ok(remediator.observe(&Aws::new(connection, key, remediator, Access::Plan)).await?)
    }

    /// Calls since the last look that could have changed a resource.
    fn writes(&self) -> Vec<String> {
        let written = self.emulator.calls().into_iter().filter(|call| {
            call.is_write() && matches!(call.service.as_str(), "s3" | "s3control" | "ec2" | "cognito-idp")
        });
        let written = written.map(|call| format!("{}:{}", call.service, call.operation)).collect();
        self.emulator.forget_calls();
        written
    }
}

/// What a command has printed.
#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The story, and to whom it is told.
struct Show<'a> {
    around: &'a mut Surroundings,
    paint: Paint,
    stage: &'a Stage,
    pause: bool,
    step: usize,
}

impl Show<'_> {
    /// Begins a step: after the reader has said so, where somebody is there to say it.
    fn step(&mut self, title: &str, story: &str) -> Result<()> {
        if self.pause && self.step > 0 && self.around.in_is_terminal {
            self.around.out.flush()?;
            write!(self.around.err, "Press Enter to go on ")?;
            self.around.err.flush()?;
            io::BufRead::read_line(&mut self.around.input, &mut String::new())?;
        }
        self.step += 1;
        let title = self.paint.bold(&format!("{}. {title}", self.step));
        writeln!(self.around.out, "\n{title}\n")?;
        self.say(story)
    }

    fn say(&mut self, story: &str) -> Result<()> {
        for paragraph in story.split("\n\n") {
            let mut line = String::new();
            for word in paragraph.split_whitespace() {
                if !line.is_empty() && line.chars().count() + word.chars().count() > 98 {
                    writeln!(self.around.out, "{line}")?;
                    line.clear();
                }
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            writeln!(self.around.out, "{line}\n")?;
        }
        Ok(())
    }

    /// Runs a command as if it had been typed, and shows both.
    async fn command(&mut self, args: &[&str], expected: Exit) -> Result<()> {
        let prompt = self.paint.bold(&format!("$ redress {}", args.join(" ")));
        writeln!(self.around.out, "{prompt}")?;
        let printed = self.quietly(args, expected).await?;
        for line in printed.lines() {
            writeln!(self.around.out, "{}{line}", if line.is_empty() { "" } else { "  " })?;
        }
        writeln!(self.around.out)?;
        Ok(())
    }

    async fn quietly(&mut self, args: &[&str], expected: Exit) -> Result<String> {
        let tape = Tape::default();
        let state = self.stage.dir.display().to_string();
        let colour = if self.paint.0 { "always" } else { "never" };
        let args = ["redress"].iter().chain(args).copied().chain(["--state-dir", &state, "--color", colour]);
        let mut cli = Cli::try_parse_from(args).map_err(|error| failed("arguments")(error.to_string()))?;
        // Whatever the environment says is about real accounts.
        let global = &mut cli.global;
        (global.rules, global.role, global.deployment) = (None, None, None);
        (global.state_table, global.audit_table) = (None, None);
        global.activity_table = Some(ACTIVITY.to_owned());
        let mut around = Surroundings {
            out: Box::new(tape.clone()),
            err: Box::new(tape.clone()),
            input: Box::new(io::empty()),
            out_in_colour: self.paint.0,
            in_is_terminal: false,
            err_is_terminal: false,
            aws: Some(self.stage.emulator.sdk_config(ACCOUNT, REGION)),
            // Nobody signs in here.
            sign_in_window: Some(std::time::Duration::ZERO),
        };
        let exit = type_erased(cli, &mut around).await?;
        let bytes = tape.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let printed = String::from_utf8_lossy(&bytes).into_owned();
        if exit != expected {
            return Err(failed("a command")(format!("it ended with {exit:?}, not {expected:?}:\n{printed}")));
        }
        Ok(printed)
    }

    /// Ends the demo where something is not as it was told.
    fn check(&mut self, holds: bool, what: &str) -> Result<()> {
        if !holds {
            return Err(failed("this should hold")(what.to_owned()));
        }
        let tick = self.paint.in_colour(anstyle::AnsiColor::Green, "✓");
        writeln!(self.around.out, "{tick} {what}")?;
        Ok(())
    }

    fn account(&mut self) -> Result<()> {
        self.step(
            "An AWS account with something wrong in it",
            "AWS Security Hub checks the resources of an account against controls, and writes a finding \
             wherever one fails. redress turns such findings into fixes.\n\n\
             To show how, this program has just made an AWS account inside its own process: no real \
             account, no network. In it are resources that fail controls, and a Security Hub that has \
             noticed:",
        )?;
        for finding in self.stage.hub.findings() {
            let text = |pointer| finding.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let control = match text("/Compliance/SecurityControlId") {
                "" => "(own)",
                control => control,
            };
            let resource = text("/Resources/0/Id");
            let resource = resource.rsplit(':').next().unwrap_or(resource);
            let severity = text("/Severity/Label");
            writeln!(self.around.out, "  {control:7} {severity:9} {resource}")?;
        }
        Ok(())
    }

    async fn plan(&mut self) -> Result<()> {
        self.step(
            "plan: what would be changed",
            "S3.14 wants versioning on. redress takes the finding as a pointer only: it looks at the live \
             bucket, and plans the smallest change that clears the finding. A dry run can't write: calls \
             other than the fix's declared reads are refused in the process, before they are signed.",
        )?;
        self.stage.writes();
        self.command(&["plan", "--control", "S3.14"], Exit::Done).await?;
        let written = self.stage.writes();
        self.check(written.is_empty(), "no call was made that could change anything")?;
        let status = self.stage.versioning().await?;
        self.check(status == "never", "the bucket is as it was")
    }

    async fn apply(&mut self) -> Result<String> {
        self.step(
            "apply: the change, seen to have worked",
            "apply makes the same plan, asks (here it is told --yes), notes its intent durably, looks once \
             more, writes, and reads the bucket again. Only when the plan for what it sees is empty does it \
             say fixed. --report lets the finding know.",
        )?;
        self.command(&["apply", "--control", "S3.14", "--yes", "--report"], Exit::Done).await?;
        let written = self.stage.writes();
        self.check(
            written == ["s3:PutBucketVersioning"],
            "one call has changed something: PutBucketVersioning",
        )?;
        let status = self.stage.versioning().await?;
        self.check(status == "enabled", "versioning is on")?;
        let key = format!("aws/{ACCOUNT}/{REGION}/AwsS3Bucket/{}", self.stage.made.unversioned.name);
        let told = self.quietly(&["history", "--resource", &key, "--format", "json"], Exit::Done).await?;
        let told: Value = serde_json::from_str(&told).map_err(io::Error::other)?;
        let run = told.pointer("/runs/0/run").and_then(Value::as_str).unwrap_or_default();
        Ok(run.to_owned())
    }

    fn told(&mut self) -> Result<()> {
        self.step(
            "What the finding says now",
            "Whoever looks at the finding in the console reads the outcome in its note. The workflow goes \
             from NEW to NOTIFIED and no further: Security Hub sets RESOLVED itself, once its own check has \
             passed.",
        )?;
        let id = self.stage.finding("S3.14").id();
        let finding = self.stage.hub.finding(&id).unwrap_or_default();
        let text = |pointer| finding.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (note, workflow) = (text("/Note/Text"), text("/Workflow/Status"));
        writeln!(self.around.out, "  Workflow  {}", text::whole(&workflow))?;
        writeln!(self.around.out, "  Note      {}", text::whole(&note))?;
        let fields = finding["UserDefinedFields"].as_object().cloned().unwrap_or_default();
        for (name, value) in &fields {
            let value = value.as_str().unwrap_or_default();
            writeln!(self.around.out, "  Field     {} = {}", text::whole(name), text::whole(value))?;
        }
        writeln!(self.around.out)?;
        self.check(note.contains("seen fixed") && workflow == "NOTIFIED", "the finding tells of the fix")?;
        self.stage.hub.reevaluate(&id, ComplianceStatus::Passed).map_err(failed("re-evaluation"))?;
        let finding = self.stage.hub.finding(&id).unwrap_or_default();
        let status = finding.pointer("/Workflow/Status").and_then(Value::as_str);
        self.check(
            status == Some("RESOLVED"),
            "Security Hub has checked again: PASSED, and RESOLVED by itself",
        )
    }

    async fn history(&mut self, run: &str) -> Result<()> {
        self.step(
            "history: who changed what, when and why",
            "Every run leaves records: intent before the first write, outcome after the last look, with \
             every call and its request id. They are chained by hash, so that one which is missing or was \
             altered shows.",
        )?;
        self.command(&["history", "--run", run], Exit::Done).await
    }

    async fn undo(&mut self, run: &str) -> Result<()> {
        self.step(
            "undo: back to what it was",
            "The records hold what undo needs. It goes the same way as a fix: lease, intent, a last look, \
             write, proof, record. It puts back only what the run has changed, and refuses where somebody \
             has changed that since. S3 has no way back to \"never versioned\", so the nearest state is taken, \
             and said.",
        )?;
        self.stage.writes();
        self.command(&["undo", "--run", run, "--yes"], Exit::Done).await?;
        let status = self.stage.versioning().await?;
        self.check(status == "suspended", "versioning is suspended")?;
        self.stage.writes();
        self.quietly(&["undo", "--run", run, "--yes"], Exit::Done).await?;
        let written = self.stage.writes();
        self.check(written.is_empty(), "a second undo finds nothing to undo, and writes nothing")
    }

    async fn group(&mut self) -> Result<()> {
        self.step(
            "Only what failed is changed",
            "A security group has four inbound rules. Two are open to the world, SSH and remote desktop; two \
             are as they should be. EC2.19 (high-risk ports) is failed by the open ones alone, so these \
             are revoked, and the other two are not touched. The same fix clears EC2.13 as well.",
        )?;
        let before = self.stage.ingress().await?;
        self.command(&["apply", "--control", "EC2.19", "--yes"], Exit::Done).await?;
        let after = self.stage.ingress().await?;
        let kept = after.iter().all(|rule| before.contains(rule));
        self.check(after.len() == 2 && kept, "two rules are left, as they were")?;
        let arn = self.stage.made.group_arn.clone();
        self.quietly(&["undo", "--resource", &arn, "--yes"], Exit::Done).await?;
        let restored = self.stage.ingress().await?;
        self.check(restored == before, "redress undo --resource ARN has put both back, descriptions included")
    }

    async fn guard(&mut self) -> Result<()> {
        self.step(
            "What it will not do",
            "A released address can't be had back: that is a loss, and needs a rule that says so in as many \
             words. Anybody who may import findings could forge one, so only findings under AWS's own \
             product are believed. And there is a switch that stops everything, by every door:",
        )?;
        self.stage.writes();
        let address = self.stage.made.address_arn.clone();
        self.command(&["apply", "--resource", &address, "--yes"], Exit::Refused).await?;
        let mut forged = self.stage.finding("S3.14").asff();
        let own = format!("arn:aws:securityhub:{REGION}:{ACCOUNT}:product/{ACCOUNT}/default");
        forged["ProductArn"] = json!(own);
        let file = self.stage.dir.join("forged.json");
        std::fs::write(&file, forged.to_string())?;
        let file = file.display().to_string();
        let printed = self.quietly(&["apply", &file, "--yes"], Exit::Refused).await?;
        self.check(printed.contains("which does not write it"), "a forged finding was refused")?;
        self.quietly(&["stop", "--why", "demo"], Exit::Done).await?;
        let printed = self.quietly(&["apply", "--control", "EC2.13", "--yes"], Exit::Refused).await?;
        let stopped = printed.contains("stopped for everything");
        self.check(stopped, "after `redress stop`, a fix was refused")?;
        self.quietly(&["resume"], Exit::Done).await?;
        let written = self.stage.writes();
        self.check(written.is_empty(), "in all of this nothing was changed")
    }

    async fn rest(&mut self) -> Result<()> {
        self.step(
            "The others",
            "A plan for what else there is: a bucket without lifecycle, one without its block of public \
             access, one whose policy lets plain HTTP in. The policy is edited, not written anew: look at the \
             one statement that is added.",
        )?;
        self.stage.writes();
        let controls = ["plan", "--control", "S3.13", "--control", "S3.8", "--control", "S3.5"];
        self.command(&controls, Exit::Done).await?;
        let all = ["S3.13", "S3.8", "S3.5", "EC2.13"].map(|control| ["--control", control]).concat();
        let args = [&["apply", "--yes"], all.as_slice()].concat();
        self.quietly(&args, Exit::Done).await?;
        self.quietly(&["apply", "--yes", "--control", INACTIVE_USER], Exit::Done).await?;
        let key =
            format!("aws/{ACCOUNT}/{REGION}/CognitoUser/{}/{}", self.stage.made.pool, self.stage.made.sub);
        let user = self.stage.state(redress_remediators::find("cognito.disable_user"), &key).await?;
        let disabled = user["enabled"] == json!(false);
        self.check(disabled, "redress apply has made these changes, and disabled the user of the pool")?;
        let again =
            self.quietly(&[&["plan", "--format", "json"], all.as_slice()].concat(), Exit::Done).await?;
        let again: Value = serde_json::from_str(&again).map_err(io::Error::other)?;
        let none = again["summary"].get("planned").is_none() && again["summary"]["compliant"] == json!(4);
        self.check(none, "a second look at each of them plans nothing any more")
    }

    fn end(&mut self) -> Result<()> {
        self.step(
            "On an account of your own",
            "`redress plan --control S3.14` does the same with real findings, in read-only mode, with the \
             credentials of your environment. `redress controls` lists what can be fixed, `redress explain \
             S3.14` tells who would notice, `redress policy s3.enable_versioning --access plan` prints the \
             permissions that a plan needs.",
        )
    }
}

/// The command inside the command.
fn type_erased(cli: Cli, around: &mut Surroundings) -> Pin<Box<dyn Future<Output = Result<Exit>> + '_>> {
    Box::pin(super::run(cli, around))
}
