//! Custom actions.

use http::StatusCode;
use serde_json::{Value, json};

use super::{ApiError, Caller, State, page, partition};

/// The most custom actions of an account in a Region
/// ([quotas](https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub_limits.html)).
const MAX_TARGETS: usize = 50;

/// A custom action ("action target" in the API).
#[derive(Clone, Debug)]
pub(super) struct Target {
    arn: String,
    id: String,
    name: String,
    description: String,
}

impl State {
    pub(super) fn create_action_target(&mut self, caller: &Caller, input: &Value) -> Result<Value, ApiError> {
        let id = required(input, "Id")?;
        if id.len() > 20 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(ApiError::invalid_input(
                "Invalid parameter 'Id'. data should match pattern \"^[a-zA-Z0-9]{1,20}$\"",
            ));
        }
        let name = name(required(input, "Name")?)?;
        let description = required(input, "Description")?.to_owned();
        let Caller { account, region, .. } = caller;
        let arn = format!("arn:{}:securityhub:{region}:{account}:action/custom/{id}", partition(region));
        let targets = self.targets.entry((account.clone(), region.clone())).or_default();
        if targets.iter().any(|target| target.id == id) {
            let message = format!("Action target {arn} already exists");
            return Err(ApiError::new(StatusCode::CONFLICT, "ResourceConflictException", message));
        }
        if targets.len() >= MAX_TARGETS {
            let message = format!("An account can have {MAX_TARGETS} custom actions");
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "LimitExceededException", message));
        }
        targets.push(Target { arn: arn.clone(), id: id.to_owned(), name, description });
        Ok(json!({ "ActionTargetArn": arn }))
    }

    pub(super) fn describe_action_targets(&self, caller: &Caller, input: &Value) -> Result<Value, ApiError> {
        let own = self.targets.get(&(caller.account.clone(), caller.region.clone()));
        let own = own.map(Vec::as_slice).unwrap_or_default();
        let asked = match input.get("ActionTargetArns") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(arns)) => arns.iter().map(|arn| arn.as_str().unwrap_or_default()).collect(),
            Some(_) => {
                return Err(ApiError::invalid_input(
                    "Invalid parameter 'ActionTargetArns'. data should be array",
                ));
            }
        };
        if let Some(missing) = asked.iter().find(|arn| !own.iter().any(|target| target.arn == **arn)) {
            return Err(ApiError::not_found(format!("Action target {missing} was not found")));
        }
        let found = own.iter().filter(|target| asked.is_empty() || asked.contains(&target.arn.as_str()));
        let (targets, next) = page(found.collect(), caller, input).map_err(ApiError::invalid_input)?;
        let targets: Vec<Value> = targets
            .into_iter()
            .map(|Target { arn, name, description, .. }| {
                json!({ "ActionTargetArn": arn, "Name": name, "Description": description })
            })
            .collect();
        let mut output = json!({ "ActionTargets": targets });
        if let Some(next) = next {
            super::json::set(&mut output, "NextToken", next.into());
        }
        Ok(output)
    }

    pub(super) fn update_action_target(
        &mut self,
        caller: &Caller,
        arn: &str,
        input: &Value,
    ) -> Result<Value, ApiError> {
        let new_name = optional(input, "Name")?.map(name).transpose()?;
        let description = optional(input, "Description")?.map(ToOwned::to_owned);
        let key = (caller.account.clone(), caller.region.clone());
        let target =
            self.targets.get_mut(&key).and_then(|own| own.iter_mut().find(|target| target.arn == arn));
        let target = target.ok_or_else(|| not_found(arn))?;
        if let Some(new) = new_name {
            target.name = new;
        }
        if let Some(new) = description {
            target.description = new;
        }
        Ok(json!({}))
    }

    pub(super) fn delete_action_target(&mut self, caller: &Caller, arn: &str) -> Result<Value, ApiError> {
        let own = self.targets.entry((caller.account.clone(), caller.region.clone())).or_default();
        let place = own.iter().position(|target| target.arn == arn).ok_or_else(|| not_found(arn))?;
        own.remove(place);
        Ok(json!({ "ActionTargetArn": arn }))
    }

    pub(super) fn custom_action(&mut self, id: &str, findings: &[&str]) -> Result<Vec<Value>, String> {
        let mut planned = Vec::new();
        for finding_id in findings {
            let stored = self.asff.iter().find(|stored| stored.id() == *finding_id);
            let stored = stored.ok_or_else(|| format!("there is no finding `{finding_id}`"))?;
            let seen_from = self.buses(stored.account(), stored.region()).into_iter().find_map(|bus| {
                let target = self.targets.get(&bus)?.iter().find(|target| target.id == id)?;
                Some((bus, target.clone()))
            });
            let (bus, target) = seen_from
                .ok_or_else(|| format!("there is no custom action `{id}` where `{finding_id}` is seen"))?;
            let detail = json!({
                "actionName": target.name,
                "actionDescription": target.description,
                "findings": [stored.finding],
            });
            planned.push((bus, target.arn, detail));
        }
        let kind = "Security Hub Findings - Custom Action";
        let send = |((account, region), arn, detail): ((String, String), String, Value)| {
            self.emit(kind, (&account, &region), &arn, &detail)
        };
        Ok(planned.into_iter().map(send).collect())
    }
}

fn not_found(arn: &str) -> ApiError {
    ApiError::not_found(format!("Action target {arn} was not found"))
}

fn optional<'a>(input: &'a Value, name: &str) -> Result<Option<&'a str>, ApiError> {
    match input.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text)),
        Some(_) => Err(ApiError::invalid_input(format!(
            "Invalid parameter '{name}'. data should match pattern \".*\\S.*\""
        ))),
    }
}

fn required<'a>(input: &'a Value, name: &str) -> Result<&'a str, ApiError> {
    optional(input, name)?
        .ok_or_else(|| ApiError::invalid_input(format!("data should have required property '{name}'")))
}

fn name(name: &str) -> Result<String, ApiError> {
    if name.chars().count() > 20 {
        return Err(ApiError::invalid_input(
            "Invalid parameter 'Name'. data should NOT be longer than 20 characters",
        ));
    }
    Ok(name.to_owned())
}
