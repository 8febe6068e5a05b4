//! KMS: keys, their states, their tags and their rotation. Nothing is encrypted.
//!
//! A rotation that is turned off keeps its number of days, which is shown and is not taken by itself when it is turned
//! on again ([`EnableKeyRotation`](https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html)).

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use http::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::locked;
use super::wire::{Refusal, Request, respond};
use crate::securityhub::partition;

/// The keys of one account, by Region and id.
#[derive(Default)]
pub(super) struct Keys(Mutex<HashMap<(String, String), Key>>);

struct Key {
    metadata: Value,
    tags: Value,
    rotates: bool,
    period: u64,
}

const DAY: i64 = 86_400;

pub(super) fn answer(keys: &Keys, request: &Request, operation: &str) -> Response<Bytes> {
    let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    match keys.answer(request, operation, &input) {
        Ok(output) => respond(200, "application/x-amz-json-1.1", output.to_string()),
        Err(refusal) => refusal.response("kms"),
    }
}

fn refused(code: &str, message: impl Into<String>) -> Refusal {
    Refusal::new(400, code, message)
}

impl Keys {
    fn answer(&self, request: &Request, operation: &str, input: &Value) -> Result<Value, Refusal> {
        let mut keys = locked(&self.0);
        if operation == "CreateKey" {
            let key = Key::new(request, input);
            let metadata = key.metadata.clone();
            let id = metadata["KeyId"].as_str().unwrap_or_default().to_owned();
            keys.insert((request.region.clone(), id), key);
            return Ok(json!({ "KeyMetadata": metadata }));
        }
        let asked = input["KeyId"].as_str().unwrap_or_default();
        let missing = || refused("NotFoundException", format!("Key '{asked}' does not exist"));
        let id = match asked.split_once(":key/") {
            Some((of, id)) if of.ends_with(&format!(":{}:{}", request.region, request.account())) => id,
            Some(_) => return Err(missing()),
            None => asked,
        };
        let key = keys.get_mut(&(request.region.clone(), id.to_owned())).ok_or_else(missing)?;
        match operation {
            "DescribeKey" => Ok(json!({ "KeyMetadata": key.metadata })),
            "ListResourceTags" => Ok(json!({ "Tags": key.tags, "Truncated": false })),
            "GetKeyRotationStatus" => {
                key.can_rotate()?;
                let mut output = json!({
                    "KeyId": key.metadata["Arn"],
                    "KeyRotationEnabled": key.rotates,
                    "RotationPeriodInDays": key.period,
                });
                if key.rotates {
                    let days = i64::try_from(key.period).unwrap_or(365);
                    output["NextRotationDate"] = json!(Timestamp::now().as_second() + days * DAY);
                }
                Ok(output)
            }
            "EnableKeyRotation" => {
                key.is_enabled()?;
                key.can_rotate()?;
                let period = input["RotationPeriodInDays"].as_u64().unwrap_or(365);
                if !(90..=2560).contains(&period) {
                    return Err(refused("ValidationException", "RotationPeriodInDays is from 90 to 2560"));
                }
                (key.rotates, key.period) = (true, period);
                Ok(json!({}))
            }
            "DisableKeyRotation" => {
                key.is_enabled()?;
                key.can_rotate()?;
                key.rotates = false;
                Ok(json!({}))
            }
            "DisableKey" => {
                key.metadata["KeyState"] = "Disabled".into();
                key.metadata["Enabled"] = false.into();
                Ok(json!({}))
            }
            "ScheduleKeyDeletion" => {
                let days = input["PendingWindowInDays"].as_i64().unwrap_or(30);
                key.metadata["KeyState"] = "PendingDeletion".into();
                key.metadata["Enabled"] = false.into();
                key.metadata["DeletionDate"] = json!(Timestamp::now().as_second() + days * DAY);
                Ok(json!({
                    "KeyId": key.metadata["Arn"],
                    "DeletionDate": key.metadata["DeletionDate"],
                    "KeyState": "PendingDeletion",
                    "PendingWindowInDays": days,
                }))
            }
            _ => Err(refused("UnknownOperationException", format!("The sandbox has no {operation}"))),
        }
    }
}

impl Key {
    fn new(request: &Request, input: &Value) -> Self {
        let given = |name: &str, default: &str| input[name].as_str().unwrap_or(default).to_owned();
        let origin = given("Origin", "AWS_KMS");
        let state = if origin == "EXTERNAL" { "PendingImport" } else { "Enabled" };
        let is_multi_region = input["MultiRegion"] == true;
        let id = if is_multi_region {
            format!("mrk-{}", uuid::Uuid::new_v4().simple())
        } else {
            uuid::Uuid::new_v4().to_string()
        };
        let (region, account) = (&request.region, request.account());
        let arn = format!("arn:{}:kms:{region}:{account}:key/{id}", partition(region));
        let mut metadata = json!({
            "AWSAccountId": account,
            "KeyId": id,
            "Arn": arn,
            "CreationDate": Timestamp::now().as_second(),
            "Description": given("Description", ""),
            "Enabled": state == "Enabled",
            "KeyManager": "CUSTOMER",
            "KeySpec": given("KeySpec", "SYMMETRIC_DEFAULT"),
            "KeyState": state,
            "KeyUsage": given("KeyUsage", "ENCRYPT_DECRYPT"),
            "MultiRegion": is_multi_region,
            "Origin": origin,
        });
        if is_multi_region {
            let primary = json!({ "Arn": arn, "Region": region });
            metadata["MultiRegionConfiguration"] =
                json!({ "MultiRegionKeyType": "PRIMARY", "PrimaryKey": primary, "ReplicaKeys": [] });
        }
        let tags = input["Tags"].as_array().cloned().unwrap_or_default().into();
        Self { metadata, tags, rotates: false, period: 365 }
    }

    fn is_enabled(&self) -> Result<(), Refusal> {
        let arn = self.metadata["Arn"].as_str().unwrap_or_default();
        match self.metadata["KeyState"].as_str() {
            Some("Enabled") => Ok(()),
            Some("Disabled") => Err(refused("DisabledException", format!("{arn} is disabled."))),
            state => {
                let message = format!("{arn} is {}.", state.unwrap_or_default());
                Err(refused("KMSInvalidStateException", message))
            }
        }
    }

    fn can_rotate(&self) -> Result<(), Refusal> {
        if self.metadata["KeySpec"] == "SYMMETRIC_DEFAULT" && self.metadata["Origin"] == "AWS_KMS" {
            return Ok(());
        }
        Err(refused("UnsupportedOperationException", "The key does not support rotation."))
    }
}
