//! Where winterbaume's Systems Manager is not Amazon's: settings have no default and no status, documents belong to
//! one account only, which version of a document is shared is forgotten, and automations never end.
//!
//! A setting that nobody has set
//! [answers with its default](https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetServiceSetting.html),
//! and where public sharing is blocked, a document can't be
//! [shared with everybody](https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-ssm-sharing.html).

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};
use winterbaume_core::DEFAULT_ACCOUNT_ID;

use super::automation::Automations;
use super::locked;
use super::others::Others;
use super::wire::{Refusal, Request, respond, rewrite};

const SHARING: &str = "/ssm/documents/console/public-sharing-permission";

/// Settings that were made and versions that are shared, of one account.
#[derive(Default)]
pub(super) struct Systems {
    /// By Region and setting.
    settings: Mutex<HashMap<(String, String), String>>,
    /// By Region, document and account.
    versions: Mutex<HashMap<(String, String, String), String>>,
    automations: Automations,
}

impl Systems {
    pub(super) async fn answer(
        &self,
        others: &Others,
        request: &Request,
        operation: &str,
    ) -> Response<Bytes> {
        let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if operation.ends_with("ServiceSetting") {
            return self.setting(request, operation, &input);
        }
        if operation.contains("AutomationExecution") {
            return match self.automations.answer(&request.region, operation, &input) {
                Ok(answer) => respond(200, "application/x-amz-json-1.1", answer.to_string()),
                Err(refusal) => refusal.response("ssm"),
            };
        }
        let name = input["Name"].as_str().unwrap_or_default();
        let key = |account: &str| (request.region.clone(), name.to_owned(), account.to_ascii_lowercase());
        let ids = |field: &str| -> Vec<String> {
            let ids = input[field].as_array().into_iter().flatten().filter_map(Value::as_str);
            ids.map(str::to_owned).collect()
        };
        if operation == "ModifyDocumentPermission"
            && ids("AccountIdsToAdd").iter().any(|id| id.eq_ignore_ascii_case("all"))
            && locked(&self.settings).get(&(request.region.clone(), SHARING.to_owned()))
                == Some(&"Disable".to_owned())
        {
            let message = "Public sharing of documents is blocked in this account.";
            return Refusal::new(400, "InvalidPermissionType", message).response("ssm");
        }
        let mut response = others.pass(request).await;
        if !response.status().is_success() {
            return response;
        }
        if operation == "CreateDocument" {
            self.automations.keep(&request.region, name, input["Content"].as_str().unwrap_or_default());
        }
        match operation {
            "DescribeDocument" | "CreateDocument" => {
                let owner = |account: &str| format!("\"Owner\":\"{account}\"");
                rewrite(&mut response, |text| {
                    text.replace(&owner(DEFAULT_ACCOUNT_ID), &owner(request.account()))
                });
            }
            "ModifyDocumentPermission" => {
                let version = input["SharedDocumentVersion"].as_str().unwrap_or("$DEFAULT");
                let mut versions = locked(&self.versions);
                for id in ids("AccountIdsToAdd") {
                    versions.insert(key(&id), version.to_owned());
                }
            }
            "DescribeDocumentPermission" => {
                let mut answer: Value = serde_json::from_slice(response.body()).unwrap_or_default();
                let ids: Vec<String> = answer["AccountIds"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|id| Some(id.as_str()?.to_ascii_lowercase()))
                    .collect();
                let versions = locked(&self.versions);
                let shared = ids
                    .iter()
                    .map(|id| json!({ "AccountId": id, "SharedDocumentVersion": versions.get(&key(id)) }));
                answer["AccountSharingInfoList"] = shared.collect();
                answer["AccountIds"] = json!(ids);
                *response.body_mut() = answer.to_string().into();
            }
            _ => {}
        }
        response
    }

    fn setting(&self, request: &Request, operation: &str, input: &Value) -> Response<Bytes> {
        let setting = input["SettingId"].as_str().unwrap_or_default();
        if setting != SHARING {
            let message = "The sandbox knows no other setting than that of public sharing.";
            return Refusal::new(400, "ServiceSettingNotFound", message).response("ssm");
        }
        let mut settings = locked(&self.settings);
        let key = (request.region.clone(), setting.to_owned());
        match operation {
            "UpdateServiceSetting" => {
                settings.insert(key, input["SettingValue"].as_str().unwrap_or_default().to_owned());
                return respond(200, "application/x-amz-json-1.1", "{}");
            }
            "ResetServiceSetting" => drop(settings.remove(&key)),
            _ => {}
        }
        let own = settings.get(&(request.region.clone(), setting.to_owned()));
        let answer = json!({ "ServiceSetting": {
            "SettingId": setting,
            "SettingValue": own.map_or("Enable", String::as_str),
            "Status": if own.is_some() { "Customized" } else { "Default" },
        } });
        respond(200, "application/x-amz-json-1.1", answer.to_string())
    }
}
