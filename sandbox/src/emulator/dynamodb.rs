//! Where winterbaume's `DynamoDB` is not Amazon's.
//!
//! It looks at a condition and writes in two steps, so that two callers at once could both be first; here
//! a write is alone with its table. A failed condition gives back the item that was in its way where
//! `ReturnValuesOnConditionCheckFailure` asks for it, also within a transaction; `UpdateItem` knows every
//! `ReturnValues`; a transaction repeated with its `ClientRequestToken`, as the SDK does when an answer was
//! lost, succeeds without a second write
//! ([idempotency](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html)).
//! A table can be protected from deletion
//! ([`UpdateTable`](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateTable.html)), and the tags
//! of one that does not exist are an error.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use bytes::Bytes;
use http::{HeaderValue, Response};
use serde_json::{Map, Value, json};
use tokio::sync::RwLock;
use winterbaume_dynamodb::DynamoDbService;

use super::wire::{Refusal, Request, rewrite};
use super::{locked, own_arns};

/// The tables of one account.
#[derive(Default)]
pub(super) struct Tables {
    service: DynamoDbService,
    turn: RwLock<()>,
    /// Transactions that were done, by their token.
    done: Mutex<HashMap<String, Value>>,
    /// Tables that are protected from deletion, by Region and name.
    protected: Mutex<HashSet<(String, String)>>,
}

impl Tables {
    pub(super) async fn answer(&self, request: &Request, operation: &str) -> Response<Bytes> {
        let reads = ["Get", "BatchGet", "Query", "Scan", "Describe", "List", "TransactGet"];
        let (_read, _write);
        if reads.iter().any(|read| operation.starts_with(read)) {
            _read = self.turn.read().await;
        } else {
            _write = self.turn.write().await;
        }
        let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let mut response = match operation {
            "TransactWriteItems" => match self.transact(request, input).await {
                Ok(response) => response,
                Err(refusal) => refusal.response("dynamodb"),
            },
            "UpdateItem" => self.update(request, input).await,
            "CreateTable" | "DeleteTable" | "DescribeTable" | "UpdateTable" => {
                self.table(request, operation, &input).await
            }
            "ListTagsOfResource" => self.tags(request, &input).await,
            "PutItem" | "DeleteItem" => {
                let mut response = self.pass(request).await;
                self.explain(request, &input, &mut response).await;
                response
            }
            _ => self.pass(request).await,
        };
        if operation.contains("Table") {
            rewrite(&mut response, |text| own_arns(text, request.account()));
        }
        response
    }

    async fn pass(&self, request: &Request) -> Response<Bytes> {
        request.pass_to(&self.service, &format!("dynamodb.{}.amazonaws.com", request.region)).await
    }

    async fn ask(&self, request: &Request, operation: &str, input: &Value) -> Value {
        let mut asked = Request { body: input.to_string().into(), ..request.clone() };
        if let Ok(target) = HeaderValue::from_str(&format!("DynamoDB_20120810.{operation}")) {
            asked.headers.insert("x-amz-target", target);
        }
        serde_json::from_slice(self.pass(&asked).await.body()).unwrap_or_default()
    }

    async fn table(&self, request: &Request, operation: &str, input: &Value) -> Response<Bytes> {
        let key = (request.region.clone(), input["TableName"].as_str().unwrap_or_default().to_owned());
        if operation == "DeleteTable" && locked(&self.protected).contains(&key) {
            let message = "Resource cannot be deleted as it is currently protected against deletion. Disable \
                           deletion protection first.";
            return Refusal::new(400, "ValidationException", message).response("dynamodb");
        }
        let mut response = self.pass(request).await;
        if !response.status().is_success() {
            return response;
        }
        let is_protected = {
            let mut protected = locked(&self.protected);
            match input["DeletionProtectionEnabled"].as_bool() {
                Some(true) => drop(protected.insert(key.clone())),
                Some(false) => drop(protected.remove(&key)),
                None => {}
            }
            protected.contains(&key)
        };
        let mut output: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        for name in ["Table", "TableDescription"] {
            if let Some(Value::Object(table)) = output.get_mut(name) {
                table.insert("DeletionProtectionEnabled".to_owned(), is_protected.into());
            }
        }
        *response.body_mut() = output.to_string().into();
        response
    }

    async fn tags(&self, request: &Request, input: &Value) -> Response<Bytes> {
        let arn = input["ResourceArn"].as_str().unwrap_or_default();
        let own = format!("dynamodb:{}:{}:table/", request.region, request.account());
        let name = arn.split_once(&own).map_or("", |(_, name)| name);
        let found = self.ask(request, "DescribeTable", &json!({ "TableName": name })).await;
        if !found["Table"].is_object() {
            let message = format!("Requested resource not found: ResourcArn: {arn} not found");
            return Refusal::new(400, "ResourceNotFoundException", message).response("dynamodb");
        }
        let asked = json!({ "ResourceArn": found["Table"]["TableArn"] });
        self.pass(&Request { body: asked.to_string().into(), ..request.clone() }).await
    }

    /// The primary key of an item, or of what is a key already.
    async fn key(&self, request: &Request, action: &Value) -> Value {
        if action.get("Key").is_some() {
            return action["Key"].clone();
        }
        let described =
            self.ask(request, "DescribeTable", &json!({ "TableName": action["TableName"] })).await;
        let schema = described["Table"]["KeySchema"].as_array().cloned().unwrap_or_default();
        let names = schema.iter().filter_map(|part| part["AttributeName"].as_str());
        names.map(|name| (name.to_owned(), action["Item"][name].clone())).collect::<Map<_, _>>().into()
    }

    /// The item that a write is about, as it is now; null where there is none.
    async fn item(&self, request: &Request, action: &Value) -> Value {
        let key = self.key(request, action).await;
        let ask = json!({ "TableName": action["TableName"], "Key": key, "ConsistentRead": true });
        self.ask(request, "GetItem", &ask).await["Item"].clone()
    }

    /// Adds the item to the error of a condition that failed, where that was asked for.
    async fn explain(&self, request: &Request, input: &Value, response: &mut Response<Bytes>) {
        if response.status().is_success() || input["ReturnValuesOnConditionCheckFailure"] != "ALL_OLD" {
            return;
        }
        let mut error: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let failed = |kind: &str| kind.ends_with("ConditionalCheckFailedException");
        let item = self.item(request, input).await;
        if error["__type"].as_str().is_some_and(failed) && item.is_object() {
            error["Item"] = item;
            *response.body_mut() = error.to_string().into();
        }
    }

    async fn update(&self, request: &Request, mut input: Value) -> Response<Bytes> {
        let wanted = input["ReturnValues"].as_str().unwrap_or("NONE").to_owned();
        let before = self.item(request, &input).await;
        if wanted != "NONE" {
            input["ReturnValues"] = "ALL_NEW".into();
        }
        let sent = Request { body: input.to_string().into(), ..request.clone() };
        let mut response = self.pass(&sent).await;
        if !response.status().is_success() {
            self.explain(request, &input, &mut response).await;
            return response;
        }
        let mut output: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let mut attributes = if wanted.ends_with("OLD") { before } else { output["Attributes"].clone() };
        if wanted.starts_with("UPDATED")
            && let Some(attributes) = attributes.as_object_mut()
        {
            let expression = input["UpdateExpression"].as_str().unwrap_or_default();
            let word = |c: char| !(c.is_alphanumeric() || "_#:-".contains(c));
            let named: Vec<&str> = expression
                .split(word)
                .map(|word| input["ExpressionAttributeNames"][word].as_str().unwrap_or(word))
                .collect();
            attributes.retain(|name, _| named.contains(&name.as_str()));
        }
        if let Some(output) = output.as_object_mut() {
            output.remove("Attributes");
            if wanted != "NONE" && attributes.as_object().is_some_and(|some| !some.is_empty()) {
                output.insert("Attributes".to_owned(), attributes);
            }
        }
        *response.body_mut() = output.to_string().into();
        response
    }

    async fn transact(&self, request: &Request, mut input: Value) -> Result<Response<Bytes>, Refusal> {
        let token = input.as_object_mut().and_then(|input| input.remove("ClientRequestToken"));
        let token = token.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(done) = locked(&self.done).get(&token) {
            if *done == input {
                return Ok(Response::new(Bytes::from_static(b"{}")));
            }
            let message = "Transaction token has already been used with other parameters";
            return Err(Refusal::new(400, "IdempotentParameterMismatchException", message));
        }
        let actions: Vec<Value> = input["TransactItems"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| item.as_object()?.values().next().cloned())
            .collect();
        let mut keys: Vec<(Value, Value)> = Vec::new();
        for action in &actions {
            let key = (action["TableName"].clone(), self.key(request, action).await);
            if keys.contains(&key) {
                let message = "Transaction request cannot include multiple operations on one item";
                return Err(Refusal::new(400, "ValidationException", message));
            }
            keys.push(key);
        }
        let mut response = self.pass(request).await;
        if response.status().is_success() {
            if !token.is_empty() {
                locked(&self.done).insert(token, input);
            }
            return Ok(response);
        }
        let mut error: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let Some(reasons) = error["CancellationReasons"].as_array_mut() else { return Ok(response) };
        for (reason, action) in reasons.iter_mut().zip(&actions) {
            let failed = reason["Code"] == "ConditionalCheckFailed";
            if failed && action["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD" {
                let item = self.item(request, action).await;
                if item.is_object() {
                    reason["Item"] = item;
                }
            }
        }
        let codes: Vec<&str> = reasons.iter().filter_map(|reason| reason["Code"].as_str()).collect();
        let message = format!(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
            codes.join(", ")
        );
        error["Message"] = message.into();
        if let Some(error) = error.as_object_mut() {
            error.remove("message");
        }
        *response.body_mut() = error.to_string().into();
        Ok(response)
    }
}
