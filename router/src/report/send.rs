//! The calls by which people are told.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_securityhub::types::{
    AwsSecurityFindingFilters, AwsSecurityFindingIdentifier, NoteUpdate, WorkflowStatus, WorkflowUpdate,
};
use redress_remediators::{Error, ErrorKind, Result};
use tokio::sync::OnceCell;
use tracing::warn;

use super::{AUTHOR, EVENT_SOURCE, EVENT_TYPE, Update, ocsf, room_for_note, update};
use crate::{
    audit::FindingRef,
    engine::{Done, OnFinding, Outcome, address},
    event::{Decoded, shown},
    finding::Finding,
    hub,
};

/// Findings in one call of
/// [`BatchUpdateFindings`](https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchUpdateFindings.html).
const MOST_FINDINGS: usize = 100;

/// Entries in one call of
/// [`PutEvents`](https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html).
const MOST_EVENTS: usize = 10;

/// `status_id` of a finding that is being worked on:
/// [OCSF](https://schema.ocsf.io/1.5.0/classes/compliance_finding), Security Hub's counterpart of NOTIFIED.
const OCSF_IN_PROGRESS: i32 = 2;

/// Where outcomes are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    /// Whether findings get notes, fields and workflow states.
    pub findings: bool,
    /// The event bus that gets an event per outcome; `None` for none.
    pub bus: Option<String>,
}

/// Why EventBridge may have refused an entry that it takes another time
/// ([entries](https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html)).
const PASSING: [&str; 3] = ["InternalFailure", "InternalException", "ThrottlingException"];

/// Tells outcomes to Security Hub and EventBridge.
pub struct Reporter {
    config: SdkConfig,
    channels: Channels,
    hub: OnceCell<aws_sdk_securityhub::Client>,
    events: OnceCell<aws_sdk_eventbridge::Client>,
}

impl Reporter {
    /// A reporter that makes its clients when they are first needed.
    pub fn new(config: SdkConfig, channels: Channels) -> Self {
        Self { config, channels, hub: OnceCell::new(), events: OnceCell::new() }
    }

    /// Fills in what stands on the findings of runs that were settled without their event, and where the event is old
    /// (`late`) on those of all: a note takes the place of the one that is there, and fields that of all fields. A
    /// comment on an OCSF finding takes no other's place.
    ///
    /// Where that can't be read, nothing may be written to the finding, lest what stands there be lost: the outcome is
    /// marked so, and not as told. The error is that of the last.
    pub async fn look_up(&self, done: &mut [Done], late: bool) -> Result<()> {
        if !self.channels.findings {
            return Ok(());
        }
        let mut all = Ok(());
        for done in done {
            let Done::Outcome(outcome) = done else { continue };
            if !(late || outcome.settled) || update(outcome).is_none() {
                continue;
            }
            let finding = outcome.subject.finding.clone();
            let Some(finding) = finding.filter(|finding| finding.metadata_uid.is_none()) else { continue };
            let filters = AwsSecurityFindingFilters::builder()
                .id(hub::equals(&finding.id))
                .product_arn(hub::equals(&finding.product))
                .build();
            match hub::findings(self.hub().await, &filters, |_| {}).await {
                Ok(found) => {
                    for decoded in found {
                        if let Decoded::Finding(found) = decoded
                            && found.id == finding.id
                        {
                            let (known, nothing_left) = (outcome.note.clone(), outcome.workflow_new);
                            address(outcome, &found);
                            // Of several resources, or of those an account stands for, others may be left to be
                            // dealt with, and rules come back to a finding that is NEW.
                            outcome.workflow_new &=
                                if outcome.settled { names_only(&found, outcome) } else { nothing_left };
                            // The record of the run, where there is one, has the note that was known.
                            if outcome.note != known || outcome.run.is_empty() {
                                outcome.on_finding = outcome.on_finding.max(room_for_note(outcome));
                            }
                        }
                    }
                }
                Err(error) => {
                    (outcome.on_finding, outcome.memo) = (OnFinding::Nothing, None);
                    all = Err(error);
                }
            }
        }
        all
    }

    async fn hub(&self) -> &aws_sdk_securityhub::Client {
        self.hub.get_or_init(async || aws_sdk_securityhub::Client::new(&self.config)).await
    }

    /// Tells outcomes, and says of each whether everybody was told.
    pub async fn report(&self, outcomes: &[&Outcome]) -> Vec<Result<()>> {
        let (findings, events) = tokio::join!(self.to_findings(outcomes), self.to_bus(outcomes));
        findings.into_iter().zip(events).map(|(findings, event)| findings.and(event)).collect()
    }

    async fn to_findings(&self, outcomes: &[&Outcome]) -> Vec<Result<()>> {
        let mut told: Vec<Result<()>> = outcomes.iter().map(|_| Ok(())).collect();
        if !self.channels.findings {
            return told;
        }
        // What is written the same goes in one call.
        let mut groups: BTreeMap<(Update, bool), Vec<(usize, &FindingRef)>> = BTreeMap::new();
        for (number, outcome) in outcomes.iter().enumerate() {
            if let (Some(update), Some(finding)) = (update(outcome), &outcome.subject.finding) {
                let group = groups.entry((update, finding.metadata_uid.is_some())).or_default();
                group.push((number, finding));
            }
        }
        let hub = self.hub().await;
        for ((update, ocsf), findings) in groups {
            for batch in findings.chunks(MOST_FINDINGS) {
                let result = if ocsf {
                    update_v2(hub, &update, batch).await
                } else {
                    update_v1(hub, &update, batch).await
                };
                for (number, _) in batch {
                    if let Some(told) = told.get_mut(*number) {
                        told.clone_from(&result);
                    }
                }
            }
        }
        told
    }

    async fn to_bus(&self, outcomes: &[&Outcome]) -> Vec<Result<()>> {
        let mut told: Vec<Result<()>> = outcomes.iter().map(|_| Ok(())).collect();
        let Some(bus) = self.channels.bus.as_deref() else { return told };
        let events = self.events.get_or_init(async || aws_sdk_eventbridge::Client::new(&self.config)).await;
        for (batch, told) in outcomes.chunks(MOST_EVENTS).zip(told.chunks_mut(MOST_EVENTS)) {
            let entries = batch.iter().map(|outcome| {
                let resources = outcome.subject.resource.as_ref().map(ToString::to_string);
                aws_sdk_eventbridge::types::PutEventsRequestEntry::builder()
                    .event_bus_name(bus)
                    .source(EVENT_SOURCE)
                    .detail_type(EVENT_TYPE)
                    .set_resources(resources.map(|resource| vec![resource]))
                    .detail(ocsf(outcome).to_string())
                    .build()
            });
            let sent = events.put_events().set_entries(Some(entries.collect())).send().await;
            match sent {
                Err(error) => {
                    let error = Error::from(error).context(format!("event bus `{bus}`"));
                    told.fill(Err(error));
                }
                Ok(sent) => {
                    for (entry, told) in sent.entries().iter().zip(told.iter_mut()) {
                        if let Some(code) = entry.error_code() {
                            let passes = PASSING.contains(&code);
                            let kind = if passes { ErrorKind::Transient } else { ErrorKind::Rejected };
                            *told = Err(Error::new(kind, format!("event bus `{bus}`: {code}")));
                        }
                    }
                }
            }
        }
        told
    }
}

/// Whether the finding names one resource, and it is the outcome's own.
fn names_only(finding: &Finding, outcome: &Outcome) -> bool {
    let [one] = finding.resources.as_slice() else { return false };
    let key = outcome.subject.resource.as_ref();
    key.is_some_and(|key| key.kind == one.kind)
}

async fn update_v1(
    hub: &aws_sdk_securityhub::Client,
    update: &Update,
    findings: &[(usize, &FindingRef)],
) -> Result<()> {
    let mut identifiers = Vec::new();
    for (_, finding) in findings {
        let identifier =
            AwsSecurityFindingIdentifier::builder().id(&finding.id).product_arn(&finding.product);
        identifiers.push(identifier.build());
    }
    let note = |text: &String| NoteUpdate::builder().text(text).updated_by(AUTHOR).build();
    let workflow =
        update.notified.then(|| WorkflowUpdate::builder().status(WorkflowStatus::Notified).build());
    let answer = hub
        .batch_update_findings()
        .set_finding_identifiers(Some(identifiers))
        .set_note(update.note.as_ref().map(note))
        .set_user_defined_fields(update.fields.clone().map(|fields| fields.into_iter().collect()))
        .set_workflow(workflow)
        .send()
        .await
        .map_err(|error| Error::from(error).context("note on the finding"))?;
    for unprocessed in answer.unprocessed_findings() {
        let code = unprocessed.error_code().unwrap_or_default();
        let finding = unprocessed.finding_identifier().and_then(|finding| finding.id()).unwrap_or_default();
        if matches!(code, "ConcurrentUpdateError" | "InternalFailure") {
            return Err(Error::new(ErrorKind::Transient, format!("note on the finding: {code}")));
        }
        // The finding may be gone, or too large for a note: nothing that another try would change.
        warn!(code, finding = shown(finding), "Security Hub took no note");
    }
    Ok(())
}

async fn update_v2(
    hub: &aws_sdk_securityhub::Client,
    update: &Update,
    findings: &[(usize, &FindingRef)],
) -> Result<()> {
    let uids = findings.iter().filter_map(|(_, finding)| finding.metadata_uid.clone()).collect();
    let answer = hub
        .batch_update_findings_v2()
        .set_metadata_uids(Some(uids))
        .set_comment(update.note.clone())
        .set_status_id(update.notified.then_some(OCSF_IN_PROGRESS))
        .send()
        .await
        .map_err(|error| Error::from(error).context("comment on the finding"))?;
    for unprocessed in answer.unprocessed_findings() {
        let code = unprocessed.error_code().map(ToString::to_string).unwrap_or_default();
        if matches!(code.as_str(), "ConflictException" | "InternalServerException" | "ThrottlingException") {
            return Err(Error::new(ErrorKind::Transient, format!("comment on the finding: {code}")));
        }
        warn!(code, "Security Hub took no comment");
    }
    Ok(())
}
