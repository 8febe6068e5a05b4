//! Remediators that break their contract, each in one way. Whatever they are made of, what the others are held to
//! finds them.

use std::collections::BTreeSet;

use aws_sdk_s3::types::{CorsConfiguration, CorsRule};
use redress_remediators::{
    Aws, BoxFuture, Change, Erased, Evidence, Facts, Key, KindInfo, Misplaced, Narrowed, Plan, Progress,
    REGISTRY, RawAsk, Result, Sighting, Spec, Undo,
};
use redress_sandbox::scenarios::SCENARIOS;
use serde_json::Value;

use crate::{all, clean::keeps_its_promises, world::World};

/// The way in which a contract is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breach {
    /// Looking writes.
    LookingWrites,
    /// The change comes with a call that is not declared.
    Undeclared,
    /// The change is not made.
    NotMade,
    /// The change is made again and again: nothing is ever good enough.
    NeverEnough,
    /// The way back leads nowhere.
    NoWayBack,
    /// The way back is not gone.
    NotUndone,
}

struct Broken {
    inner: &'static dyn Erased,
    breach: Breach,
}

/// A write of a service that every connection has, to whatever bucket.
async fn meddle(aws: &Aws) -> Result<()> {
    let rule = CorsRule::builder().allowed_methods("GET").allowed_origins("*").build().unwrap();
    let cors = CorsConfiguration::builder().cors_rules(rule).build().unwrap();
    aws.s3().put_bucket_cors().bucket("the-case").cors_configuration(cors).send().await?;
    Ok(())
}

impl Erased for Broken {
    fn spec(&self) -> &'static Spec {
        self.inner.spec()
    }
    fn kind(&self) -> &'static KindInfo {
        self.inner.kind()
    }
    fn evidence(&self) -> Evidence {
        self.inner.evidence()
    }
    fn params_schema(&self) -> schemars::Schema {
        self.inner.params_schema()
    }
    fn check_params(&self, params: &Value) -> Result<()> {
        self.inner.check_params(params)
    }
    fn of_account(&self) -> bool {
        self.inner.of_account()
    }
    fn members<'a>(&'a self, aws: &'a Aws) -> BoxFuture<'a, Result<Vec<Key>>> {
        self.inner.members(aws)
    }
    fn locate(&self, seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        self.inner.locate(seen)
    }
    fn inspect<'a>(&'a self, aws: &'a Aws, tags: bool) -> BoxFuture<'a, Result<Facts>> {
        self.inner.inspect(aws, tags)
    }
    fn observe<'a>(&'a self, aws: &'a Aws) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            if self.breach == Breach::LookingWrites {
                meddle(aws).await?;
            }
            self.inner.observe(aws).await
        })
    }
    fn plan(&self, now: &Value, ask: &RawAsk<'_>) -> Result<Plan<Value>> {
        self.inner.plan(now, ask)
    }
    fn apply<'a>(&'a self, aws: &'a Aws, change: &'a Change<Value>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match self.breach {
                Breach::NotMade => return Ok(()),
                Breach::Undeclared => meddle(aws).await?,
                _ => {}
            }
            self.inner.apply(aws, change).await
        })
    }
    fn check<'a>(&'a self, aws: &'a Aws, change: &'a Change<Value>) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            match self.breach {
                Breach::NeverEnough => Ok(change.from.clone()),
                _ => self.inner.check(aws, change).await,
            }
        })
    }
    fn undo(&self, change: &Change<Value>, now: &Value) -> Result<Undo<Value>> {
        match self.breach {
            Breach::NoWayBack => Ok(Undo::Nothing),
            Breach::NotUndone => Ok(Undo::To { to: now.clone(), notes: Vec::new() }),
            _ => self.inner.undo(change, now),
        }
    }
    fn same(&self, one: &Value, two: &Value) -> Result<bool> {
        self.inner.same(one, two)
    }
    fn aging(&self, now: &Value) -> Result<bool> {
        self.inner.aging(now)
    }
    fn arn(&self, key: &Key) -> String {
        self.inner.arn(key)
    }
    fn progress(&self, change: &Change<Value>, now: &Value) -> Result<Option<Progress>> {
        self.inner.progress(change, now)
    }
    fn fields(&self, params: &Value) -> Result<BTreeSet<String>> {
        self.inner.fields(params)
    }
    fn narrowed(&self, params: &Value) -> Result<Narrowed> {
        self.inner.narrowed(params)
    }
    fn wants_control_params(&self, control: &str, params: &Value) -> Result<bool> {
        self.inner.wants_control_params(control, params)
    }
}

#[test]
fn whatever_breaks_its_contract_is_found() {
    let breaches = [
        (Breach::LookingWrites, "planned: failed"),
        (Breach::Undeclared, "fixed: failed"),
        (Breach::NotMade, "no outcome: Some(Retry"),
        (Breach::NeverEnough, "no outcome: Some(Retry"),
        (Breach::NoWayBack, "undone: skipped"),
        // Some ways back are long enough to have no end, others lead to what was there before.
        (Breach::NotUndone, ""),
    ];
    let work = SCENARIOS.iter().flat_map(|scenarios| breaches.map(|breach| (*scenarios, breach))).collect();
    let wrong = all(work, async |(scenarios, (breach, expected))| {
        let broken = |inner: &&'static dyn Erased| -> &'static dyn Erased {
            Box::leak(Box::new(Broken { inner: *inner, breach: *breach }))
        };
        let registry: Vec<&'static dyn Erased> = REGISTRY.iter().map(broken).collect();
        let case = scenarios.cases.iter().find(|case| case.expect.changes()).ok_or("no case")?;
        let world = World::with(Box::leak(registry.into_boxed_slice()), scenarios, case).await;
        match Box::pin(keeps_its_promises(&world)).await {
            Err(why) if why.contains(expected) => Ok(()),
            other => Err(format!("{} {breach:?}: {other:?}", world.name())),
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}
