//! Accounts and Regions: where Security Hub is on, who sees what, and whose bus carries it.

use std::collections::BTreeSet;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::json::time;
use super::request::{ApiError, Caller, percent_decode};
use super::{State, partition};

/// One account's Security Hub in one Region.
#[derive(Clone, Debug)]
pub(super) struct Hub {
    subscribed_at: Timestamp,
    generator: String,
}

impl State {
    pub(super) fn check_enabled(&self, caller: &Caller) -> Result<(), ApiError> {
        let key = (caller.account.clone(), caller.region.clone());
        if !self.settings.require_enabled || self.hubs.contains_key(&key) {
            return Ok(());
        }
        let message = format!("Account {} is not subscribed to AWS Security Hub", caller.account);
        Err(ApiError::new(StatusCode::UNAUTHORIZED, "InvalidAccessException", message))
    }

    pub(super) fn enable_security_hub(&mut self, caller: &Caller, input: &Value) -> Result<Value, ApiError> {
        let generator = match input.get("ControlFindingGenerator") {
            None | Some(Value::Null) => "SECURITY_CONTROL",
            Some(Value::String(known)) if known == "SECURITY_CONTROL" || known == "STANDARD_CONTROL" => known,
            Some(_) => return Err(ApiError::invalid_input("Invalid parameter 'ControlFindingGenerator'")),
        };
        let key = (caller.account.clone(), caller.region.clone());
        if self.hubs.contains_key(&key) {
            let message = "Account is already subscribed to Security Hub";
            return Err(ApiError::new(StatusCode::CONFLICT, "ResourceConflictException", message));
        }
        let hub = Hub { subscribed_at: self.now(), generator: generator.to_owned() };
        self.hubs.insert(key, hub);
        Ok(json!({}))
    }

    pub(super) fn describe_hub(&self, caller: &Caller, query: &str) -> Result<Value, ApiError> {
        let Caller { account, region, .. } = caller;
        let arn = format!("arn:{}:securityhub:{region}:{account}:hub/default", partition(region));
        let asked = query.split('&').find_map(|pair| pair.strip_prefix("HubArn="));
        if let Some(asked) = asked.and_then(percent_decode)
            && asked != arn
        {
            return Err(ApiError::not_found(format!("Hub {asked} was not found")));
        }
        let hub = self.hubs.get(&(account.clone(), region.clone()));
        let subscribed_at = hub.map_or_else(|| self.now(), |hub| hub.subscribed_at);
        Ok(json!({
            "HubArn": arn,
            "SubscribedAt": time(subscribed_at),
            "AutoEnableControls": true,
            "ControlFindingGenerator": hub.map_or("SECURITY_CONTROL", |hub| hub.generator.as_str()),
        }))
    }

    /// Whether a caller sees what belongs to an account and Region.
    pub(super) fn sees(&self, caller: &Caller, account: &str, region: &str) -> bool {
        let members = self.members.get(&caller.account);
        let in_account =
            caller.account == account || members.is_some_and(|members| members.contains(account));
        let in_region = caller.region == region || self.home_region.as_ref() == Some(&caller.region);
        in_account && in_region
    }

    /// Where the events of a finding go: account and Region of each bus, the owner's first.
    pub(super) fn buses(&self, account: &str, region: &str) -> Vec<(String, String)> {
        let administrators = self.members.iter().filter(|(_, members)| members.contains(account));
        let accounts: BTreeSet<&str> = administrators
            .map(|(administrator, _)| administrator.as_str())
            .filter(|a| *a != account)
            .collect();
        let home = self.home_region.as_deref().filter(|home| *home != region);
        let mut buses = Vec::new();
        for region in std::iter::once(region).chain(home) {
            for account in std::iter::once(account).chain(accounts.iter().copied()) {
                buses.push((account.to_owned(), region.to_owned()));
            }
        }
        buses
    }
}
