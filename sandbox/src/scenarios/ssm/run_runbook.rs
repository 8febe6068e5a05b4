use aws_sdk_ssm::types::DocumentType;
use serde_json::{Value, json};

use super::ssm;
use crate::scenarios::{
    Case, Error,
    Expect::{FixedForGood, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "ssm.run_runbook",
    resource_type: "AwsKinesisStream",
    absent: None,
    cases: &[
        Case::new("of a quick runbook", CONTROL, |at| Box::pin(stream(at, "PT0S")), FOR_GOOD).params(
            "{document: Team-EncryptStream, role: runbooks/streams, parameters: \
             {StreamArn: '{resource.arn}', Tags: ['{control}', '{account} {region}', '{{}}']}}",
        ),
        Case::new("of a runbook that takes its time", CONTROL, |at| Box::pin(stream(at, "PT9S")), FOR_GOOD).params(
            "{document: Team-EncryptStream, version: '1', role: streams, risk: loss, again_after_hours: 720, \
             parameters: {StreamArn: '{resource.id}'}}",
        ),
        Case::new("of a rule that names no role", CONTROL, |at| Box::pin(stream(at, "PT0S")), Refused("`role`"))
            .params("{document: Team-EncryptStream}"),
        Case::new(
            "of a rule that names what the finding has not",
            CONTROL,
            |at| Box::pin(stream(at, "PT0S")),
            Refused("names nothing"),
        )
        .params(
            "{document: Team-EncryptStream, role: streams, parameters: {StreamArn: '{finding:/Resources/9/Id}'}}",
        ),
    ],
    look: |at, _| Box::pin(look(at)),
    ministack: OnMinistack::No("it runs no automations"),
};

/// One that no other remediator serves.
const CONTROL: &str = "Kinesis.1";

const FOR_GOOD: crate::scenarios::Expect = FixedForGood("can't be taken back");

async fn stream(at: &Place, takes: &str) -> Result<String, Error> {
    let content = json!({
        "schemaVersion": "0.3",
        "assumeRole": "{{ AutomationAssumeRole }}",
        "parameters": {
            "AutomationAssumeRole": { "type": "AWS::IAM::Role::Arn" },
            "StreamArn": { "type": "String" },
            "Tags": { "type": "StringList", "default": [] },
        },
        "mainSteps": [{ "name": "wait", "action": "aws:sleep", "inputs": { "Duration": takes } }],
        "outputs": ["wait.Output"],
    });
    let request =
        ssm(at).create_document().name("Team-EncryptStream").document_type(DocumentType::Automation);
    request.content(content.to_string()).send().await?;
    Ok(at.arn("kinesis", &format!("stream/{}", at.name)))
}

/// The executions that were started, without what time makes of them.
async fn look(at: &Place) -> Result<Value, Error> {
    let found = ssm(at).describe_automation_executions().send().await?;
    let mut executions = Vec::new();
    for one in found.automation_execution_metadata_list() {
        let id = one.automation_execution_id().unwrap_or_default();
        let found = ssm(at).get_automation_execution().automation_execution_id(id).send().await?;
        let found = found.automation_execution;
        let parameters = found.as_ref().and_then(|found| found.parameters.clone()).unwrap_or_default();
        let parameters: std::collections::BTreeMap<_, _> = parameters.into_iter().collect();
        executions.push(json!({ "document": one.document_name(), "parameters": parameters }));
    }
    Ok(executions.into())
}
