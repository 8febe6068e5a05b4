use aws_sdk_ssm::types::{DocumentPermissionType::Share, DocumentType};
use serde_json::{Value, json};

use super::ssm;
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "ssm.unshare_document",
    resource_type: "AwsSsmDocument",
    absent: Some(|at| at.arn("ssm", &format!("document/no-such-{}", at.name))),
    cases: &[
        Case::new("that is public", "SSM.4", |at| Box::pin(shared(at, &["All"], None)), Fixed),
        Case::new(
            "that is public, and a partner's",
            "SSM.4",
            |at| Box::pin(shared(at, &["210987654321", "All"], Some("$LATEST"))),
            Fixed,
        ),
        Case::new(
            "that is a partner's",
            "SSM.4",
            |at| Box::pin(shared(at, &["210987654321"], None)),
            Compliant,
        ),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::No("it shares no documents"),
};

const CONTENT: &str = r#"{"schemaVersion":"2.2","description":"nothing","mainSteps":[]}"#;

async fn shared(at: &Place, with: &[&str], version: Option<&str>) -> Result<String, Error> {
    let request = ssm(at).create_document().name(&at.name).document_type(DocumentType::Command);
    request.content(CONTENT).send().await?;
    for account in with {
        let request = ssm(at).modify_document_permission().name(&at.name).permission_type(Share);
        let request = request.account_ids_to_add(*account);
        request.set_shared_document_version(version.map(str::to_owned)).send().await?;
    }
    Ok(at.arn("ssm", &format!("document/{}", at.name)))
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let name = arn.rsplit('/').next().unwrap_or_default();
    let found = ssm(at).describe_document_permission().name(name).permission_type(Share).send().await?;
    let mut shared: Vec<(Option<&str>, Option<&str>)> = found
        .account_sharing_info_list()
        .iter()
        .map(|one| (one.account_id(), one.shared_document_version()))
        .collect();
    shared.sort_unstable();
    Ok(json!(shared))
}
