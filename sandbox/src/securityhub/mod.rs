//! A Security Hub of our own, for the sandbox and the tests.
//!
//! No public emulator answers what redress asks of Security Hub: those that know `BatchUpdateFindings`
//! ignore the filters of `GetFindings`, and the others lack it. This one is held to the service's API
//! model: paths, members, limits, error shapes, and what each call leaves in the finding. It runs in
//! process, through [`SecurityHub::handle`], and over TCP, through [`crate::serve`] and the binary
//! `securityhub-server`, to which an SDK is pointed by `AWS_ENDPOINT_URL_SECURITYHUB`.
//!
//! ## Served
//! `GetFindings`, `BatchImportFindings`, `BatchUpdateFindings`, their V2 twins `GetFindingsV2` and
//! `BatchUpdateFindingsV2`, `CreateActionTarget`, `DescribeActionTargets`, `UpdateActionTarget`,
//! `DeleteActionTarget`, `BatchGetSecurityControls`, `EnableSecurityHub`, `DescribeHub`. Anything else is
//! answered with `UnknownOperationException`.
//!
//! ## Accounts and Regions
//! The account is the access key of the request's `SigV4` header where that has 12 digits, else what
//! [`SecurityHub::map_access_key`] says, else [`Settings::default_account`]; the Region is that of the
//! credential scope. Signatures are not checked. A caller sees the findings of its own account and
//! Region; an administrator ([`SecurityHub::set_administrator`]) those of its members as well, and the
//! home Region ([`SecurityHub::set_home_region`]) those of every Region.
//!
//! ## Events
//! Each import and each update of a finding causes one `Security Hub Findings - Imported` (ASFF) or
//! `Findings Imported V2` (OCSF) event
//! ([formats](https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-cwe-event-formats.html)),
//! one for each event bus that would carry it: the owner's, its administrator's, the home Region's.
//! [`SecurityHub::events`] drains them, [`SecurityHub::on_event`] gets each as it happens.
//!
//! ## What AWS does not document
//! Decided here so that a caller that is careful passes and a careless one fails: a filter without
//! `Comparison` or `Value` is refused; `CONTAINS` and `NOT_CONTAINS` are refused outside automation rules
//! unless [`Settings::allow_contains`]; page tokens count matches, so findings that stop matching between
//! two pages shift the next one; limits that stand in the finding format but not in the API model (a note
//! of 512 characters, 50 user-defined fields) come back as unprocessed findings, not as a failed call;
//! an update that names no field is refused; updates are visible at once (AWS may take minutes).
//!
//! ## The test API over TCP
//! What AWS itself would do, or a test wants to know. JSON in, JSON out, no signature; status 400 with
//! `{"error": "..."}` where the input is wrong. `POST` unless another method is named.
//!
//! | path | body | answer |
//! |---|---|---|
//! | `/_test/import-as-aws` | ASFF finding, or a list | `{"events": [...]}` |
//! | `/_test/import-ocsf` | OCSF finding, or a list | `{"events": [...]}` |
//! | `/_test/update` | `{"id": ..., "patch": {...}}` (JSON merge patch of an ASFF finding) | `{"events": [...]}` |
//! | `/_test/reevaluate` | `{"id": ..., "status": "PASSED"}`; both formats of the finding | `{"events": [...]}` |
//! | `/_test/archive` | `{"id": ...}` | `{"events": [...]}` |
//! | `/_test/custom-action` | `{"action": ..., "findings": [id, ...]}` | `{"events": [...]}` |
//! | `/_test/parameters` | `{"account": ..., "region": ..., "control": ..., "parameters": {...}}` | `{}` |
//! | `/_test/control` | `{"id", "title", "severity", "description"?, "parameters"?}` | `{}` |
//! | `/_test/throttle` | `{"on": true}`, `{"on": false}` or `{"rate": 1, "burst": 1}` | `{}` |
//! | `/_test/fail` | `{"operation", "status", "code", "times"}` | `{}` |
//! | `/_test/fail-update` | `{"id", "code", "times"}` | `{}` |
//! | `/_test/administrator` | `{"account": ..., "members": [...]}` | `{}` |
//! | `/_test/home-region` | `{"region": ... or null}` | `{}` |
//! | `/_test/access-key` | `{"key": ..., "account": ...}` | `{}` |
//! | `/_test/time` | `{"now": "2026-11-23T08:00:00Z" or null}` | `{}` |
//! | `/_test/reset` | – | `{}` |
//! | `GET /_test/events` | – | `{"events": [...]}`, drained |
//! | `GET /_test/calls` | – | `{"calls": [{operation, account, region, status, body}]}` |
//! | `GET /_test/findings` | – | `{"asff": [...], "ocsf": [...]}` |

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, Method, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::findings::ComplianceStatus;

mod accounts;
mod actions;
mod asff;
pub(crate) mod controls;
mod fields;
mod filter;
mod format;
mod json;
mod ocsf;
mod request;
mod test_api;
#[cfg(test)]
mod tests;
mod throttle;

use accounts::Hub;
use asff::Stored;
pub(crate) use json::{fingerprint, time};
use request::{ApiError, Caller, Operation, is_account, page, respond};
pub use throttle::Throttle;

/// The most bytes that a finding may have
/// ([`BatchImportFindings`](https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchImportFindings.html)).
pub const MAX_FINDING_BYTES: usize = 240 * 1024;

/// How a [`SecurityHub`] answers where AWS leaves a choice.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The account of callers whose access key is not an account id; 12 digits.
    pub default_account: String,
    /// Whether an account must call `EnableSecurityHub` before anything else works in a Region.
    pub require_enabled: bool,
    /// Whether `CONTAINS` and `NOT_CONTAINS` work in `GetFindings`. The API model says that they work in
    /// automation rules only.
    pub allow_contains: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { default_account: "123456789012".to_owned(), require_enabled: false, allow_contains: false }
    }
}

/// A call that was answered, whatever the answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Call {
    /// Name in the API model, such as `BatchUpdateFindings`.
    pub operation: String,
    /// Who called.
    pub account: String,
    /// Region that was called.
    pub region: String,
    /// HTTP status of the answer.
    pub status: u16,
    /// What was sent; `null` where that was empty or not JSON.
    pub body: Value,
}

#[derive(Default)]
struct State {
    settings: Settings,
    now: Option<Timestamp>,
    asff: Vec<Stored>,
    ocsf: Vec<Value>,
    hubs: BTreeMap<(String, String), Hub>,
    targets: BTreeMap<(String, String), Vec<actions::Target>>,
    members: BTreeMap<String, BTreeSet<String>>,
    home_region: Option<String>,
    access_keys: HashMap<String, String>,
    controls: Vec<controls::Control>,
    parameters: BTreeMap<(String, String, String), Map<String, Value>>,
    throttle: Option<Throttle>,
    faults: Vec<(String, u16, String, u32)>,
    update_faults: Vec<(String, String, u32)>,
    calls: Vec<Call>,
    events: Vec<Value>,
    outbox: Vec<Value>,
}

type Listener = Arc<dyn Fn(&Value) + Send + Sync>;

/// A Security Hub; see the [module's documentation](self). Clones share one state.
#[derive(Clone, Default)]
pub struct SecurityHub {
    state: Arc<Mutex<State>>,
    listeners: Arc<Mutex<Vec<Listener>>>,
}

impl std::fmt::Debug for SecurityHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        f.debug_struct("SecurityHub")
            .field("asff", &state.asff.len())
            .field("ocsf", &state.ocsf.len())
            .finish_non_exhaustive()
    }
}

impl SecurityHub {
    /// An empty hub with the default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty hub.
    pub fn with_settings(settings: Settings) -> Self {
        let hub = Self::default();
        hub.lock().settings = settings;
        hub
    }

    /// Answers one request. `path_and_query` is what follows the host, still percent-encoded.
    pub fn handle(
        &self,
        method: &Method,
        path_and_query: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Response<Vec<u8>> {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        if let Some(path) = path.strip_prefix("/_test/") {
            return test_api::handle(self, method, path, body);
        }
        let response = self.change(|state| state.answer(method, path, query, headers, body));
        response.unwrap_or_else(|error| error.response())
    }

    /// Answers a request as an HTTP library holds it.
    pub fn handle_request<B: AsRef<[u8]>>(&self, request: &http::Request<B>) -> Response<Vec<u8>> {
        let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        self.handle(request.method(), path, request.headers(), request.body().as_ref())
    }

    /// Calls `listener` with each event, after the change that caused it is done. It may call the hub.
    pub fn on_event(&self, listener: impl Fn(&Value) + Send + Sync + 'static) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(listener));
    }

    /// The events since the last call, oldest first, as `EventBridge` delivers them.
    pub fn events(&self) -> Vec<Value> {
        std::mem::take(&mut self.lock().events)
    }

    /// Every API call since the start or the last [`SecurityHub::reset`], oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// How often an operation, such as `BatchUpdateFindings`, was called.
    pub fn count_calls(&self, operation: &str) -> usize {
        self.lock().calls.iter().filter(|call| call.operation == operation).count()
    }

    /// Imports ASFF findings as AWS's own services do: with any product ARN and for any account. The
    /// finding's `Region`, else its product ARN's, says where.
    ///
    /// # Errors
    /// What is wrong with the first finding that does not adhere to the format; then none is imported.
    pub fn import_as_aws(&self, findings: impl IntoIterator<Item = Value>) -> Result<Vec<Value>, String> {
        let findings: Vec<Value> = findings.into_iter().collect();
        self.change(|state| {
            for finding in &findings {
                format::check(finding)?;
            }
            Ok(findings.into_iter().flat_map(|finding| state.import(finding, None)).collect())
        })
    }

    /// Imports OCSF findings (class 2003 or any other) as Security Hub (V2) does.
    ///
    /// # Errors
    /// The member that is missing: `metadata.uid`, `metadata.product.uid`, `finding_info.uid`,
    /// `cloud.account.uid`, `cloud.region`, `class_uid`.
    pub fn import_ocsf(&self, findings: impl IntoIterator<Item = Value>) -> Result<Vec<Value>, String> {
        let findings: Vec<Value> = findings.into_iter().collect();
        self.change(|state| {
            for finding in &findings {
                ocsf::check(finding)?;
            }
            Ok(findings.into_iter().flat_map(|finding| state.import_ocsf(finding)).collect())
        })
    }

    /// Changes an ASFF finding as its provider would: by a
    /// [JSON merge patch](https://www.rfc-editor.org/rfc/rfc7396), with `UpdatedAt` set to now unless the
    /// patch has one. What belongs to the customer (note, workflow, ...) stays.
    ///
    /// # Errors
    /// No finding has that id, or what would come of it does not adhere to the format.
    pub fn update_as_aws(&self, id: &str, patch: &Value) -> Result<Vec<Value>, String> {
        self.change(|state| state.patch(id, patch))
    }

    /// Checks a control again, with the given result, in whichever formats the finding is stored: status,
    /// severity and times change, and the workflow with them
    /// ([rules](https://docs.aws.amazon.com/securityhub/latest/userguide/findings-workflow-status.html)).
    ///
    /// # Errors
    /// No finding has that id.
    pub fn reevaluate(&self, id: &str, status: ComplianceStatus) -> Result<Vec<Value>, String> {
        self.change(|state| state.reevaluate(id, status))
    }

    /// Archives an ASFF finding, as Security Hub does when the resource is gone or the control disabled.
    ///
    /// # Errors
    /// No finding has that id.
    pub fn archive(&self, id: &str) -> Result<Vec<Value>, String> {
        self.update_as_aws(id, &json!({ "RecordState": "ARCHIVED" }))
    }

    /// What a person does who selects findings in the console and picks a custom action: one event a
    /// finding, from the finding's own account and Region where the action exists there, else from its
    /// administrator's or the home Region.
    ///
    /// # Errors
    /// No such finding, or no such action in an account and Region from which the finding is seen.
    pub fn custom_action(&self, action_id: &str, finding_ids: &[&str]) -> Result<Vec<Value>, String> {
        self.change(|state| state.custom_action(action_id, finding_ids))
    }

    /// An ASFF finding as it is stored, by its `Id`.
    pub fn finding(&self, id: &str) -> Option<Value> {
        self.lock().asff.iter().find(|stored| stored.id() == id).map(|stored| stored.finding.clone())
    }

    /// An OCSF finding as it is stored, by its `metadata.uid` or `finding_info.uid`.
    pub fn ocsf_finding(&self, uid: &str) -> Option<Value> {
        let state = self.lock();
        let is_it = |finding: &&Value| {
            json::text(finding, "metadata.uid") == uid || json::text(finding, "finding_info.uid") == uid
        };
        state.ocsf.iter().find(is_it).cloned()
    }

    /// All ASFF findings, in the order of their first import.
    pub fn findings(&self) -> Vec<Value> {
        self.lock().asff.iter().map(|stored| stored.finding.clone()).collect()
    }

    /// All OCSF findings, in the order of their first import.
    pub fn ocsf_findings(&self) -> Vec<Value> {
        self.lock().ocsf.clone()
    }

    /// Sets what `BatchGetSecurityControls` says of a control's parameters in one account and Region.
    /// `parameters` maps names to `ParameterConfiguration`, as in
    /// `{"authorizedTcpPorts": {"ValueType": "CUSTOM", "Value": {"IntegerList": [443]}}}`; names that are
    /// not in it keep their default.
    ///
    /// # Errors
    /// `parameters` is not such a map, or no such control is known.
    pub fn set_parameters(
        &self,
        account: &str,
        region: &str,
        control: &str,
        parameters: &Value,
    ) -> Result<(), String> {
        self.change(|state| state.set_parameters(account, region, control, parameters))
    }

    /// Makes a control known to `BatchGetSecurityControls`, or replaces one. `parameters` are its
    /// defaults, shaped as in [`SecurityHub::set_parameters`].
    pub fn add_control(
        &self,
        id: &str,
        title: &str,
        severity: &str,
        description: &str,
        parameters: Map<String, Value>,
    ) {
        let control = controls::Control {
            id: id.to_owned(),
            title: title.to_owned(),
            severity: severity.to_owned(),
            description: description.to_owned(),
            parameters,
        };
        let mut state = self.lock();
        state.controls.retain(|known| known.id != id);
        state.controls.push(control);
    }

    /// Limits the rate of calls, or no longer does (`None`, the default).
    pub fn set_throttle(&self, throttle: Option<Throttle>) {
        self.lock().throttle = throttle;
    }

    /// Answers the next `times` calls of an operation with an error instead of doing them.
    pub fn fail_next(&self, operation: &str, status: u16, code: &str, times: u32) {
        self.lock().faults.push((operation.to_owned(), status, code.to_owned(), times));
    }

    /// Leaves a finding unprocessed in the next `times` calls of `BatchUpdateFindings` that name its `Id`,
    /// with one of the
    /// [documented codes](https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchUpdateFindingsUnprocessedFinding.html),
    /// such as `ConcurrentUpdateError`.
    pub fn fail_next_update(&self, finding_id: &str, code: &str, times: u32) {
        self.lock().update_faults.push((finding_id.to_owned(), code.to_owned(), times));
    }

    /// Makes an account the administrator of others: it sees and updates their findings, and its event bus
    /// carries them.
    pub fn set_administrator<'a>(&self, account: &str, members: impl IntoIterator<Item = &'a str>) {
        let members = members.into_iter().map(ToOwned::to_owned).collect();
        self.lock().members.insert(account.to_owned(), members);
    }

    /// Aggregates the findings of all Regions in one.
    pub fn set_home_region(&self, region: Option<&str>) {
        self.lock().home_region = region.map(ToOwned::to_owned);
    }

    /// Says whose an access key is, such as one that STS gave for a role.
    pub fn map_access_key(&self, access_key: &str, account: &str) {
        self.lock().access_keys.insert(access_key.to_owned(), account.to_owned());
    }

    /// Stops the clock at a time, or lets it run again. Throttles go by the same clock.
    pub fn set_time(&self, now: Option<Timestamp>) {
        self.lock().now = now;
    }

    /// Forgets everything but the settings and the listeners.
    pub fn reset(&self) {
        let mut state = self.lock();
        *state = State { settings: state.settings.clone(), ..State::default() };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then tells the listeners, with no lock held.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let events = std::mem::take(&mut state.outbox);
        drop(state);
        if !events.is_empty() {
            let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for event in &events {
                for listener in &listeners {
                    listener(event);
                }
            }
        }
        result
    }
}

impl State {
    fn now(&self) -> Timestamp {
        self.now.unwrap_or_else(Timestamp::now)
    }

    /// Sends one event.
    fn emit(&mut self, kind: &str, bus: (&str, &str), resource: &str, detail: &Value) -> Value {
        let event = json!({
            "version": "0",
            "id": uuid::Uuid::new_v4().to_string(),
            "detail-type": kind,
            "source": "aws.securityhub",
            "account": bus.0,
            "time": format!("{:.0}", self.now()),
            "region": bus.1,
            "resources": [resource],
            "detail": detail,
        });
        self.events.push(event.clone());
        self.outbox.push(event.clone());
        event
    }

    /// Sends the event of a new or changed finding to each bus that carries it.
    fn announce(
        &mut self,
        kind: &str,
        account: &str,
        region: &str,
        resource: &str,
        finding: &Value,
    ) -> Vec<Value> {
        let detail = json!({ "findings": [finding] });
        let buses = self.buses(account, region);
        buses.iter().map(|(account, region)| self.emit(kind, (account, region), resource, &detail)).collect()
    }
}

/// The partition of a Region
/// ([list](https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html)).
pub(crate) fn partition(region: &str) -> &'static str {
    const PREFIXES: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];
    PREFIXES.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}
