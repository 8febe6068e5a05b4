//! The contract of a remediator, and the form in which the engine holds one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    future::Future,
    pin::Pin,
    str::FromStr,
};

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Access, Action, Aws, Error, ErrorKind, Facts, Implied, Key, KindInfo, Misplaced, Narrowed,
    RegionOfAccount, Resource, Result, Sighting, text::shown,
};

/// One fix for one kind of resource.
///
/// The engine calls the functions in this order, and owns everything between them:
///
/// 1. [`observe`](Self::observe) reads the live state; [`plan`](Self::plan) decides.
/// 2. A dry run ends here. A real run takes the lease, records its intent, observes once more and goes on
///    only if the state still equals the plan's `from`.
/// 3. [`apply`](Self::apply) makes the change; [`check`](Self::check) is polled until the plan for what it
///    sees is empty.
/// 4. Undo asks [`undo`](Self::undo) for the target, given the recorded states, and goes the same way.
///
/// # What must hold
/// - `plan` and `undo` are pure: no calls, no clock, no randomness.
/// - `apply` is safe to repeat after a crash at any point within, and writes nothing beyond `from → to`.
/// - `State` is a stored format: records of old versions stay readable (`#[serde(default)]` on new fields).
///   It holds all that the remediator may alter and nothing secret, in a normal form, since AWS re-orders.
pub trait Remediator: Send + Sync + 'static {
    /// Name, controls, worst risk, IAM actions, documentation.
    const SPEC: Spec;

    /// Controls that may fail once the fix is made, because it is made.
    const RAISES: &'static [&'static str] = &[];

    /// What shows that the finding is true.
    const EVIDENCE: Evidence = Evidence::State;

    /// Whether a finding of an account as a whole stands for resources of this kind in its Region: those that
    /// [`members`](Self::members) lists, each of which is then a run of its own.
    const OF_ACCOUNT: bool = false;

    /// The kind of resource it works on.
    type Resource: Resource;

    /// What a rule may set. Unknown fields are refused; every field has a safe default.
    type Params: DeserializeOwned + Serialize + Default + JsonSchema + Send + Sync;

    /// All of the resource that this remediator may alter, so that it can be put back.
    type State: Serialize + DeserializeOwned + Clone + PartialEq + Debug + Send + Sync;

    /// Reads the live state.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the resource does not exist; anything else as AWS said it.
    fn observe(aws: &Aws, at: &Self::Resource) -> impl Future<Output = Result<Self::State>> + Send;

    /// The ids of those resources that fail while the account is said to: [`Aws::key`] is the account's, in one
    /// Region. A pointer, like the finding: each is proven and observed by its own run. With
    /// [`OF_ACCOUNT`](Self::OF_ACCOUNT) only; it may call what is declared to be read.
    ///
    /// # Errors
    /// As AWS said it, and where its answer does not say which they are: a list in part is none.
    fn members(aws: &Aws) -> impl Future<Output = Result<Vec<String>>> + Send {
        let _ = aws;
        async { Ok(Vec::new()) }
    }

    /// Decides what should change. Pure.
    fn plan(now: &Self::State, ask: &Ask<'_, Self::Params>) -> Plan<Self::State>;

    /// Makes the change. Safe to repeat after a crash at any point within.
    ///
    /// # Errors
    /// As AWS said it.
    fn apply(
        aws: &Aws,
        at: &Self::Resource,
        change: &Change<Self::State>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Reads what [`apply`](Self::apply) has made. Differs from `observe` only where a change moves the
    /// resource to another id.
    ///
    /// # Errors
    /// As those of `observe`.
    fn check(
        aws: &Aws,
        at: &Self::Resource,
        change: &Change<Self::State>,
    ) -> impl Future<Output = Result<Self::State>> + Send {
        let _ = change;
        Self::observe(aws, at)
    }

    /// Where the way back leads, given what a run made of `change.from` and what is there now. Pure.
    ///
    /// Puts back only what the run changed; a change of somebody else's beside it stays.
    fn undo(change: &Change<Self::State>, now: &Self::State) -> Undo<Self::State> {
        whole(change, now)
    }

    /// How far a change has come that AWS carries out in its own time, such as an automation. `None` where
    /// nothing is under way: then the plan for what is seen says whether the change is made. Pure.
    fn progress(change: &Change<Self::State>, now: &Self::State) -> Option<Progress> {
        let _ = (change, now);
        None
    }

    /// Of [`Self::RAISES`], those that will fail in this state. Their plans say so.
    fn raises(to: &Self::State) -> &'static [&'static str] {
        let _ = to;
        Self::RAISES
    }

    /// Whether the engine keeps the time since when it has seen this state, and gives it to `plan` as [`Ask::since`].
    /// A state that was not looked at for three days counts from then on.
    fn aging(now: &Self::State) -> bool {
        let _ = now;
        false
    }

    /// Whether the plan for this control depends on the control's parameters in Security Hub, so that
    /// they are asked for when the finding brings none.
    fn wants_control_params(control: &str, params: &Self::Params) -> bool {
        let _ = (control, params);
        false
    }

    /// What of the finding the rule's parameters name, for [`Ask::fields`]: see [`FIELDS`].
    fn fields(params: &Self::Params) -> BTreeSet<String> {
        let _ = params;
        BTreeSet::new()
    }

    /// Of the ARNs that [`Self::SPEC`] declares actions on, those that the rule's parameters narrow, each with its
    /// template for this rule: a run's session policy is made with these.
    fn narrowed(params: &Self::Params) -> Narrowed {
        let _ = params;
        Narrowed::new()
    }
}

/// What [`Remediator::fields`] may ask for besides `finding:` and a JSON pointer into the finding as it came, such as
/// `finding:/Resources/0/Details/AwsS3Bucket/Name`.
pub const FIELDS: [&str; 7] =
    ["account", "region", "partition", "control", "resource.id", "resource.arn", "resource.type"];

/// How far a change has come that AWS carries out in its own time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has ended well, as far as AWS says, and what it says.
    Done(String),
    /// It goes on, and what it is doing.
    Going(String),
    /// It has ended otherwise, and how.
    Failed(String),
}

/// What shows that a finding is true. The finding itself never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The resource's own state.
    State,
    /// The activity table: when the user was last seen. The engine reads it, consistently, and gives it as
    /// [`Ask::seen`]; again directly before the write, and once more after it.
    Activity,
}

/// When a user was last seen, as the activity table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastSeen {
    /// From when on the inactivity counts: the last sight, or a restore after it.
    pub since: Timestamp,
    /// Whether a sign-in is known at all; otherwise the user is only known to exist since then.
    pub signed_in: bool,
    /// When it was announced that the user will be disabled.
    pub warned: Option<Timestamp>,
    /// The end of the last day after `since` on which sign-ins of the pool were lost, and nobody has looked
    /// after them: the user may have been seen until then.
    pub in_doubt: Option<Timestamp>,
}

/// What stands beside a remediator's code: its name, and what people and IAM must know of it.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// `service.verb_phrase`; reads well after "will".
    pub name: &'static str,
    /// Counts up when the meaning of its plan or its state changes. Plan files name it.
    pub version: u32,
    /// The controls it serves, canonical spelling. None: whichever a rule gives it, and no rule is built in.
    pub controls: &'static [&'static str],
    /// The worst that any plan of its can bring.
    pub risk: Risk,
    /// What changes, in a sentence or two.
    pub what: &'static str,
    /// Who will notice, and how.
    pub who_notices: &'static str,
    /// How undo works, and what can't be had back.
    pub way_back: &'static str,
    /// Actions needed to observe. What [`Resource::inspect`] reads is added by itself.
    pub reads: &'static [Action],
    /// Actions that a fix needs besides.
    pub writes: &'static [Action],
    /// Actions that only the way back needs.
    pub undo: &'static [Action],
    /// Actions that AWS checks without a call of ours.
    pub implied: &'static [Implied],
}

impl Spec {
    /// Whether a rule may give it findings of this control.
    pub fn serves(&self, control: &str) -> bool {
        self.is_general() || self.controls.contains(&control)
    }

    /// Whether it is for whichever controls a rule gives it.
    pub const fn is_general(&self) -> bool {
        self.controls.is_empty()
    }
}

/// The worst that can come of a change.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Default,
)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Nobody notices.
    None,
    /// The bill grows.
    #[default]
    Cost,
    /// Somebody may lose access that they used.
    Access,
    /// Something may stop working for a while.
    Downtime,
    /// Something can't be had back.
    Loss,
}

impl Risk {
    /// The name in rules, records and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Cost => "cost",
            Self::Access => "access",
            Self::Downtime => "downtime",
            Self::Loss => "loss",
        }
    }
}

/// What is asked of a plan.
#[derive(Debug)]
pub struct Ask<'a, P> {
    /// The control that failed, canonical spelling.
    pub control: &'a str,
    /// The rule's parameters.
    pub params: &'a P,
    /// The control's parameters: those of the finding, else those that Security Hub names; `None` where
    /// neither is known.
    pub control_params: Option<&'a BTreeMap<String, Vec<String>>>,
    /// When the run started.
    pub at: Timestamp,
    /// Since when the state has been one that [`Remediator::aging`] watches; `None` where that is new, or not
    /// known.
    pub since: Option<Timestamp>,
    /// When the user was last seen, with [`Evidence::Activity`]; `None` where nothing is known of it.
    pub seen: Option<&'a LastSeen>,
    /// What [`Remediator::fields`] has asked for. Made of letters, digits and `-_.:/=+@#` only, whatever the finding
    /// says; a run ends before its plan where one is absent or anything else.
    pub fields: &'a BTreeMap<String, String>,
    /// Whether a person asked for this very finding.
    pub by_person: bool,
}

impl<P> Ask<'_, P> {
    /// A parameter of the control that is one value; `None` where it is not known or has none. Security Hub's names for them begin
    /// with a small letter, Config's for the same ones mostly with a capital.
    ///
    /// # Errors
    /// What it is, where that can't be read: unknown means no.
    pub fn parameter<T: FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        let Some(values) = self.values(name) else { return Ok(None) };
        // Security Hub names a parameter without a value where the control has no default for it:
        // https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_ParameterConfiguration.html
        let given: Vec<&str> =
            values.iter().map(|value| value.trim()).filter(|value| !value.is_empty()).collect();
        let read = match given[..] {
            [] => return Ok(None),
            [value] => value.to_ascii_lowercase().parse().ok(),
            _ => None,
        };
        let unreadable = || {
            let given = shown(&values.join(","));
            format!("the control's parameter `{name}` is `{given}`, which can't be read")
        };
        read.map(Some).ok_or_else(unreadable)
    }

    /// The members of a parameter of the control that is a list, given one by one or with commas between them; `None`
    /// where it is not known. See [`Ask::parameter`].
    pub fn list(&self, name: &str) -> Option<Vec<&str>> {
        let members = self.values(name)?.iter().flat_map(|value| value.split(',')).map(str::trim);
        Some(members.filter(|member| !member.is_empty()).collect())
    }

    fn values(&self, name: &str) -> Option<&[String]> {
        let mut known = self.control_params?.iter();
        known.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, values)| values.as_slice())
    }
}

/// The rule of a remediator that has nothing to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// What a remediator decides.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan<S> {
    /// There is nothing to change.
    Compliant,
    /// This should change.
    Change(Proposal<S>),
    /// Not yet; nothing is written until then.
    Wait {
        /// The earliest time at which the plan can differ.
        until: Timestamp,
        /// What is waited for.
        why: String,
    },
    /// This must not be changed by us.
    Refuse(String),
    /// This was asked to be left alone: by the rule's parameters, or by a mark on the resource.
    Exempt(String),
}

/// A change as proposed by a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal<S> {
    /// The state to reach.
    pub to: S,
    /// The worst that can come of this very change; never above the remediator's declared risk.
    pub risk: Risk,
    /// What whoever decides should know, a sentence each.
    pub notes: Vec<String>,
}

impl<S> Plan<S> {
    /// A change without remarks.
    pub fn change(to: S, risk: Risk) -> Self {
        Self::Change(Proposal { to, risk, notes: Vec::new() })
    }

    /// The same plan with its states in another form.
    fn map<T>(self, form: impl FnOnce(S) -> Result<T>) -> Result<Plan<T>> {
        Ok(match self {
            Self::Compliant => Plan::Compliant,
            Self::Change(Proposal { to, risk, notes }) => {
                Plan::Change(Proposal { to: form(to)?, risk, notes })
            }
            Self::Wait { until, why } => Plan::Wait { until, why },
            Self::Refuse(why) => Plan::Refuse(why),
            Self::Exempt(why) => Plan::Exempt(why),
        })
    }
}

/// A change: the state before it and the state it leads to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change<S> {
    /// What was seen when it was planned.
    pub from: S,
    /// What it makes of it.
    pub to: S,
}

/// What undo decides.
#[derive(Clone, Debug, PartialEq)]
pub enum Undo<S> {
    /// What the run changed is already as it was.
    Nothing,
    /// This puts it back.
    To {
        /// The state to reach.
        to: S,
        /// What can't be had back, or what else to know.
        notes: Vec<String>,
    },
    /// There is no way back, or somebody has changed the same part since.
    Refuse(String),
}

/// Undo for a state that is one value: back to `from`, if it still is what the run left.
pub fn whole<S: Clone + PartialEq>(change: &Change<S>, now: &S) -> Undo<S> {
    if *now == change.from {
        Undo::Nothing
    } else if *now == change.to {
        Undo::To { to: change.from.clone(), notes: Vec::new() }
    } else {
        Undo::Refuse("it has been changed since: it is neither as it was nor as the run left it".to_owned())
    }
}

/// A future that can be held behind `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is asked of a plan, with the rule's parameters as they stand in the rule.
#[derive(Clone, Copy, Debug)]
pub struct RawAsk<'a> {
    /// See [`Ask::control`].
    pub control: &'a str,
    /// The rule's parameters; `null` for none.
    pub params: &'a Value,
    /// See [`Ask::control_params`].
    pub control_params: Option<&'a BTreeMap<String, Vec<String>>>,
    /// See [`Ask::at`].
    pub at: Timestamp,
    /// See [`Ask::since`].
    pub since: Option<Timestamp>,
    /// See [`Ask::seen`].
    pub seen: Option<&'a LastSeen>,
    /// See [`Ask::fields`].
    pub fields: &'a BTreeMap<String, String>,
    /// See [`Ask::by_person`].
    pub by_person: bool,
}

/// A remediator whose types are gone: states and parameters are JSON, as they stand in records and rules.
///
/// Undo runs from a record, perhaps years later and in another process; so the engine works on this form
/// only. There is one implementation, for every [`Remediator`].
pub trait Erased: Send + Sync + 'static {
    /// See [`Remediator::SPEC`].
    fn spec(&self) -> &'static Spec;
    /// See [`Resource::KIND`].
    fn kind(&self) -> &'static KindInfo;
    /// See [`Remediator::RAISES`].
    fn may_raise(&self) -> &'static [&'static str] {
        &[]
    }
    /// See [`Remediator::raises`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where the state can't be read.
    fn raises(&self, to: &Value) -> Result<&'static [&'static str]> {
        let _ = to;
        Ok(&[])
    }
    /// See [`Remediator::EVIDENCE`].
    fn evidence(&self) -> Evidence;
    /// The JSON schema of the rule's parameters.
    fn params_schema(&self) -> Schema;
    /// Whether a rule's parameters can be read; the error names the field.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`].
    fn check_params(&self, params: &Value) -> Result<()>;
    /// See [`Remediator::OF_ACCOUNT`].
    fn of_account(&self) -> bool {
        false
    }
    /// See [`Remediator::members`]: their keys, sorted, each once.
    fn members<'a>(&'a self, aws: &'a Aws) -> BoxFuture<'a, Result<Vec<Key>>> {
        let _ = aws;
        Box::pin(async { Ok(Vec::new()) })
    }
    /// See [`Resource::locate`].
    ///
    /// # Errors
    /// What does not agree.
    fn locate(&self, seen: &Sighting<'_>) -> Result<Key, Misplaced>;
    /// See [`Resource::arn`].
    fn arn(&self, key: &Key) -> String {
        key.fill(self.kind().arn)
    }
    /// See [`Resource::inspect`].
    fn inspect<'a>(&'a self, aws: &'a Aws, tags: bool) -> BoxFuture<'a, Result<Facts>>;
    /// See [`Remediator::observe`].
    fn observe<'a>(&'a self, aws: &'a Aws) -> BoxFuture<'a, Result<Value>>;
    /// See [`Remediator::plan`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where state or parameters can't be read.
    fn plan(&self, now: &Value, ask: &RawAsk<'_>) -> Result<Plan<Value>>;
    /// See [`Remediator::apply`].
    fn apply<'a>(&'a self, aws: &'a Aws, change: &'a Change<Value>) -> BoxFuture<'a, Result<()>>;
    /// See [`Remediator::check`].
    fn check<'a>(&'a self, aws: &'a Aws, change: &'a Change<Value>) -> BoxFuture<'a, Result<Value>>;
    /// See [`Remediator::progress`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where a state can't be read.
    fn progress(&self, change: &Change<Value>, now: &Value) -> Result<Option<Progress>> {
        let _ = (change, now);
        Ok(None)
    }
    /// See [`Remediator::undo`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where a stored state can't be read.
    fn undo(&self, change: &Change<Value>, now: &Value) -> Result<Undo<Value>>;
    /// Whether two states are the same to the remediator. Their JSON may differ where AWS re-orders and
    /// rewrites: states hold documents as they were read, and compare them in a normal form.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where a state can't be read.
    fn same(&self, one: &Value, two: &Value) -> Result<bool>;
    /// See [`Remediator::aging`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where the state can't be read.
    fn aging(&self, now: &Value) -> Result<bool>;
    /// See [`Remediator::wants_control_params`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where the parameters can't be read.
    fn wants_control_params(&self, control: &str, params: &Value) -> Result<bool>;
    /// See [`Remediator::fields`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where the parameters can't be read.
    fn fields(&self, params: &Value) -> Result<BTreeSet<String>> {
        let _ = params;
        Ok(BTreeSet::new())
    }
    /// See [`Remediator::narrowed`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where the parameters can't be read.
    fn narrowed(&self, params: &Value) -> Result<Narrowed> {
        let _ = params;
        Ok(Narrowed::new())
    }

    /// Whether a finding's resource of this type is one to fix, or an account that stands for such.
    fn takes(&self, kind: &str) -> bool {
        self.kind().covers(kind) || self.of_account() && RegionOfAccount::KIND.covers(kind)
    }

    /// Every IAM action that `access` opens, those of the resource type included.
    fn actions(&self, access: Access) -> Vec<Action> {
        let spec = self.spec();
        let mut actions = [self.kind().reads, spec.reads].concat();
        if access >= Access::Apply {
            actions.extend(spec.writes);
            actions.extend(spec.implied.iter().map(|implied| implied.action));
        }
        if access >= Access::Undo {
            actions.extend(spec.undo);
        }
        actions
    }
}

impl<R: Remediator> Erased for R {
    fn spec(&self) -> &'static Spec {
        const { &R::SPEC }
    }

    fn kind(&self) -> &'static KindInfo {
        const { &R::Resource::KIND }
    }

    fn may_raise(&self) -> &'static [&'static str] {
        R::RAISES
    }

    fn raises(&self, to: &Value) -> Result<&'static [&'static str]> {
        Ok(R::raises(&state_of::<R>(to)?))
    }

    fn evidence(&self) -> Evidence {
        R::EVIDENCE
    }

    fn params_schema(&self) -> Schema {
        schema_for!(R::Params)
    }

    fn check_params(&self, params: &Value) -> Result<()> {
        params_of::<R>(params).map(drop)
    }

    fn of_account(&self) -> bool {
        R::OF_ACCOUNT
    }

    fn members<'a>(&'a self, aws: &'a Aws) -> BoxFuture<'a, Result<Vec<Key>>> {
        Box::pin(async move {
            let mut keys = Vec::new();
            for id in R::members(aws).await? {
                let key = Key { kind: R::Resource::KIND.asff.to_owned(), id, ..aws.key().clone() };
                resource_of::<R>(&key)?;
                keys.push(key);
            }
            keys.sort();
            keys.dedup();
            Ok(keys)
        })
    }

    fn locate(&self, seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        R::Resource::locate(seen)
    }

    fn arn(&self, key: &Key) -> String {
        R::Resource::arn(key)
    }

    fn inspect<'a>(&'a self, aws: &'a Aws, tags: bool) -> BoxFuture<'a, Result<Facts>> {
        Box::pin(async move { resource_of::<R>(aws.key())?.inspect(aws, tags).await })
    }

    fn observe<'a>(&'a self, aws: &'a Aws) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move { to_json(&R::observe(aws, &resource_of::<R>(aws.key())?).await?) })
    }

    fn plan(&self, now: &Value, ask: &RawAsk<'_>) -> Result<Plan<Value>> {
        let params = params_of::<R>(ask.params)?;
        let ask = Ask {
            control: ask.control,
            params: &params,
            control_params: ask.control_params,
            at: ask.at,
            since: ask.since,
            seen: ask.seen,
            fields: ask.fields,
            by_person: ask.by_person,
        };
        R::plan(&state_of::<R>(now)?, &ask).map(|state| to_json(&state))
    }

    fn apply<'a>(&'a self, aws: &'a Aws, change: &'a Change<Value>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { R::apply(aws, &resource_of::<R>(aws.key())?, &change_of::<R>(change)?).await })
    }

    fn check<'a>(&'a self, aws: &'a Aws, change: &'a Change<Value>) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            to_json(&R::check(aws, &resource_of::<R>(aws.key())?, &change_of::<R>(change)?).await?)
        })
    }

    fn progress(&self, change: &Change<Value>, now: &Value) -> Result<Option<Progress>> {
        Ok(R::progress(&change_of::<R>(change)?, &state_of::<R>(now)?))
    }

    fn undo(&self, change: &Change<Value>, now: &Value) -> Result<Undo<Value>> {
        Ok(match R::undo(&change_of::<R>(change)?, &state_of::<R>(now)?) {
            Undo::Nothing => Undo::Nothing,
            Undo::To { to, notes } => Undo::To { to: to_json(&to)?, notes },
            Undo::Refuse(why) => Undo::Refuse(why),
        })
    }

    fn same(&self, one: &Value, two: &Value) -> Result<bool> {
        Ok(one == two || state_of::<R>(one)? == state_of::<R>(two)?)
    }

    fn aging(&self, now: &Value) -> Result<bool> {
        Ok(R::aging(&state_of::<R>(now)?))
    }

    fn wants_control_params(&self, control: &str, params: &Value) -> Result<bool> {
        Ok(R::wants_control_params(control, &params_of::<R>(params)?))
    }

    fn fields(&self, params: &Value) -> Result<BTreeSet<String>> {
        Ok(R::fields(&params_of::<R>(params)?))
    }

    fn narrowed(&self, params: &Value) -> Result<Narrowed> {
        Ok(R::narrowed(&params_of::<R>(params)?))
    }
}

fn params_of<R: Remediator>(params: &Value) -> Result<R::Params> {
    if params.is_null() {
        return Ok(R::Params::default());
    }
    // serde would take a list as well, for the fields in their order.
    if !params.is_object() {
        let why =
            format!("parameters of `{}`: they are fields with values, not a list or one value", R::SPEC.name);
        return Err(Error::new(ErrorKind::Invalid, why));
    }
    R::Params::deserialize(params)
        .map_err(|error| Error::new(ErrorKind::Invalid, format!("parameters of `{}`: {error}", R::SPEC.name)))
}

fn state_of<R: Remediator>(state: &Value) -> Result<R::State> {
    R::State::deserialize(state).map_err(|error| {
        Error::new(ErrorKind::Invalid, format!("stored state of `{}`: {error}", R::SPEC.name))
    })
}

fn change_of<R: Remediator>(change: &Change<Value>) -> Result<Change<R::State>> {
    Ok(Change { from: state_of::<R>(&change.from)?, to: state_of::<R>(&change.to)? })
}

fn resource_of<R: Remediator>(key: &Key) -> Result<R::Resource> {
    R::Resource::from_key(key).map_err(|misplaced| Error::new(ErrorKind::Invalid, misplaced.to_string()))
}

fn to_json<S: Serialize>(state: &S) -> Result<Value> {
    serde_json::to_value(state)
        .map_err(|error| Error::new(ErrorKind::Invalid, format!("state as JSON: {error}")))
}

#[cfg(test)]
pub(crate) mod test {
    use super::*;

    /// An ask as an automatic rule makes it, at the start of 2026.
    pub(crate) fn ask<'a, P>(control: &'a str, params: &'a P) -> Ask<'a, P> {
        static NO_FIELDS: BTreeMap<String, String> = BTreeMap::new();
        let at = Timestamp::from_second(1_767_225_600).unwrap_or(Timestamp::UNIX_EPOCH);
        Ask {
            control,
            params,
            control_params: None,
            at,
            since: None,
            seen: None,
            fields: &NO_FIELDS,
            by_person: false,
        }
    }
    #[test]
    fn a_parameter_is_read_or_refused_by_either_name() {
        let known = |values: &[&str]| {
            BTreeMap::from([("MinDays".to_owned(), values.iter().map(|value| (*value).to_owned()).collect())])
        };
        let read = |known: &BTreeMap<String, Vec<String>>| {
            Ask { control_params: Some(known), ..ask("", &NoParams {}) }.parameter::<u16>("minDays")
        };
        assert_eq!(read(&known(&[" 7 "])), Ok(Some(7)));
        assert_eq!(read(&BTreeMap::new()), Ok(None));
        assert_eq!(ask("", &NoParams {}).parameter::<u16>("minDays"), Ok(None));
        for none in [&[][..], &[""], &[" "]] {
            assert_eq!(read(&known(none)), Ok(None));
        }
        for odd in [&["-1"][..], &["7", "8"], &["a\n"]] {
            let why = read(&known(odd)).err().unwrap_or_default();
            assert!(why.contains("`minDays` is") && !why.contains('\n'), "{odd:?}: {why}");
        }
        let on = BTreeMap::from([("on".to_owned(), vec!["True".to_owned()])]);
        let on = Ask { control_params: Some(&on), ..ask("", &NoParams {}) };
        assert_eq!(on.parameter::<bool>("on"), Ok(Some(true)));
    }

    #[test]
    fn a_list_is_read_however_it_is_given() {
        let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let known = BTreeMap::from([
            ("LogTypes".to_owned(), values(&["audit", " error,, slow query ", ","])),
            ("none".to_owned(), values(&[])),
        ]);
        let ask = Ask { control_params: Some(&known), ..ask("", &NoParams {}) };
        assert_eq!(ask.list("logTypes").unwrap_or_default(), ["audit", "error", "slow query"]);
        assert_eq!(ask.list("none"), Some(Vec::new()));
        assert_eq!(ask.list("others"), None);
    }
}
