//! From an HTTP request to an operation, and back.

use http::{HeaderMap, Method, Response, StatusCode};
use serde_json::{Value, json};

use super::json::fingerprint;
use super::{Call, State};

/// Who calls, by the request's signature.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) account: String,
    pub(super) region: String,
    pub(super) access_key: String,
}

/// An error as the API model shapes it.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: String,
    message: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    pub(super) fn invalid_input(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidInputException", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", message)
    }

    pub(super) fn response(&self) -> Response<Vec<u8>> {
        let body = json!({ "Code": self.code, "Message": self.message });
        let mut response = respond(self.status, &body);
        if let Ok(code) = self.code.parse() {
            response.headers_mut().insert("x-amzn-errortype", code);
        }
        response
    }
}

/// The operations that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Operation {
    BatchGetSecurityControls,
    BatchImportFindings,
    BatchUpdateFindings,
    BatchUpdateFindingsV2,
    CreateActionTarget,
    DeleteActionTarget,
    DescribeActionTargets,
    DescribeHub,
    EnableSecurityHub,
    GetFindings,
    GetFindingsV2,
    UpdateActionTarget,
}

impl Operation {
    /// The operation, and the label in its path (an action target's ARN) where it has one.
    fn route(method: &Method, path: &str) -> Option<(Self, Option<String>)> {
        let plain = match (method.as_str(), path) {
            ("POST", "/findings") => Self::GetFindings,
            ("POST", "/findings/import") => Self::BatchImportFindings,
            ("PATCH", "/findings/batchupdate") => Self::BatchUpdateFindings,
            ("POST", "/findingsv2") => Self::GetFindingsV2,
            ("PATCH", "/findingsv2/batchupdatev2") => Self::BatchUpdateFindingsV2,
            ("POST", "/actionTargets") => Self::CreateActionTarget,
            ("POST", "/actionTargets/get") => Self::DescribeActionTargets,
            ("POST", "/securityControls/batchGet") => Self::BatchGetSecurityControls,
            ("POST", "/accounts") => Self::EnableSecurityHub,
            ("GET", "/accounts") => Self::DescribeHub,
            (method, path) => {
                let arn = percent_decode(path.strip_prefix("/actionTargets/")?)?;
                return match method {
                    "DELETE" => Some((Self::DeleteActionTarget, Some(arn))),
                    "PATCH" => Some((Self::UpdateActionTarget, Some(arn))),
                    _ => None,
                };
            }
        };
        Some((plain, None))
    }

    fn name(self) -> String {
        format!("{self:?}")
    }

    fn is_v2(self) -> bool {
        matches!(self, Self::GetFindingsV2 | Self::BatchUpdateFindingsV2)
    }
}

impl State {
    pub(super) fn answer(
        &mut self,
        method: &Method,
        path: &str,
        query: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Response<Vec<u8>>, ApiError> {
        let Some((operation, label)) = Operation::route(method, path) else {
            return Err(ApiError::new(StatusCode::NOT_FOUND, "UnknownOperationException", ""));
        };
        let caller = self.caller(headers)?;
        let input = serde_json::from_slice::<Value>(body);
        let logged = input.as_ref().map_or(Value::Null, Clone::clone);
        let result = match input {
            Ok(input) if input.is_object() => {
                self.perform(operation, &caller, label.as_deref(), query, &input)
            }
            _ if body.is_empty() => self.perform(operation, &caller, label.as_deref(), query, &json!({})),
            _ => Err(ApiError::new(StatusCode::BAD_REQUEST, "SerializationException", "not a JSON object")),
        };
        let status = result.as_ref().map_or_else(|error| error.status, |_| StatusCode::OK);
        self.calls.push(Call {
            operation: operation.name(),
            account: caller.account,
            region: caller.region,
            status: status.as_u16(),
            body: logged,
        });
        Ok(respond(StatusCode::OK, &result?))
    }

    fn perform(
        &mut self,
        operation: Operation,
        caller: &Caller,
        label: Option<&str>,
        query: &str,
        input: &Value,
    ) -> Result<Value, ApiError> {
        let now = self.now();
        if let Some(throttle) = &mut self.throttle
            && !throttle.admits(caller, operation, now)
        {
            let code = if operation.is_v2() { "ThrottlingException" } else { "TooManyRequestsException" };
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, code, "Too Many Requests"));
        }
        self.fault(operation)?;
        if operation != Operation::EnableSecurityHub {
            self.check_enabled(caller)?;
        }
        let arn = label.unwrap_or_default();
        match operation {
            Operation::BatchGetSecurityControls => self.batch_get_security_controls(caller, input),
            Operation::BatchImportFindings => self.batch_import_findings(caller, input),
            Operation::BatchUpdateFindings => self.batch_update_findings(caller, input),
            Operation::BatchUpdateFindingsV2 => self.batch_update_findings_v2(caller, input),
            Operation::CreateActionTarget => self.create_action_target(caller, input),
            Operation::DeleteActionTarget => self.delete_action_target(caller, arn),
            Operation::DescribeActionTargets => self.describe_action_targets(caller, input),
            Operation::DescribeHub => self.describe_hub(caller, query),
            Operation::EnableSecurityHub => self.enable_security_hub(caller, input),
            Operation::GetFindings => self.get_findings(caller, input),
            Operation::GetFindingsV2 => self.get_findings_v2(caller, input),
            Operation::UpdateActionTarget => self.update_action_target(caller, arn, input),
        }
    }

    fn caller(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let refuse = |code, message: &str| ApiError::new(StatusCode::FORBIDDEN, code, message);
        let header = headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let scope = header
            .and_then(|header| header.strip_prefix("AWS4-HMAC-SHA256 "))
            .and_then(|rest| rest.split(',').find_map(|part| part.trim().strip_prefix("Credential=")));
        let Some(scope) = scope else {
            return Err(refuse("MissingAuthenticationTokenException", "Missing Authentication Token"));
        };
        let mut parts = scope.split('/');
        let (Some(key), Some(_date), Some(region), Some(service)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refuse("IncompleteSignatureException", "Credential has too few parts"));
        };
        if service != "securityhub" {
            let message = "Credential should be scoped to correct service: 'securityhub'.";
            return Err(refuse("InvalidSignatureException", message));
        }
        let account = if is_account(key) {
            key.to_owned()
        } else {
            self.access_keys.get(key).unwrap_or(&self.settings.default_account).clone()
        };
        Ok(Caller { account, region: region.to_owned(), access_key: key.to_owned() })
    }

    fn fault(&mut self, operation: Operation) -> Result<(), ApiError> {
        let name = operation.name();
        let fault = self.faults.iter_mut().find(|(of, _, _, times)| *of == name && *times > 0);
        let Some((_, status, code, times)) = fault else { return Ok(()) };
        *times -= 1;
        let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Err(ApiError::new(status, code, "injected by the test"))
    }
}

/// One page of what matches, and the token of the next. The token holds the position and a fingerprint of
/// the request, so that it serves no other request, as AWS demands.
pub(super) fn page<T>(
    found: Vec<T>,
    caller: &Caller,
    input: &Value,
) -> Result<(Vec<T>, Option<String>), String> {
    let size = match input.get("MaxResults") {
        None | Some(Value::Null) => 100,
        Some(given) => given
            .as_u64()
            .and_then(|size| usize::try_from(size).ok())
            .filter(|size| (1..=100).contains(size))
            .ok_or_else(|| "Invalid parameter 'MaxResults'. data should be >= 1 and <= 100".to_owned())?,
    };
    let shape = json!([input.get("Filters"), input.get("SortCriteria"), input.get("ActionTargetArns")]);
    let print = fingerprint(&[&shape.to_string(), &caller.account, &caller.region]);
    let start = match input.get("NextToken") {
        None | Some(Value::Null) => 0,
        Some(token) => token
            .as_str()
            .and_then(|token| token.split_once('.'))
            .filter(|(_, of)| *of == print)
            .and_then(|(start, _)| usize::from_str_radix(start, 16).ok())
            .ok_or_else(|| "Invalid parameter 'NextToken'".to_owned())?,
    };
    let more = found.len() > start.saturating_add(size);
    let next = more.then(|| format!("{:x}.{print}", start + size));
    Ok((found.into_iter().skip(start).take(size).collect(), next))
}

/// An answer with a body of JSON.
pub(super) fn respond(status: StatusCode, body: &Value) -> Response<Vec<u8>> {
    let mut response = Response::new(body.to_string().into_bytes());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    if let Ok(id) = uuid::Uuid::new_v4().to_string().parse() {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

/// Whether a text is an account id.
pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            decoded.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}
