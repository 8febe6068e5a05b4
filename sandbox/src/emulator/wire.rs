//! Requests and answers in the forms that AWS gives them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde_json::json;
use winterbaume_core::{MockRequest, MockService};

use super::Principal;

/// A request, with what its signature says of it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The service: its signing name, or `s3control`.
    pub(super) service: String,
    pub(super) region: String,
    pub(super) access_key: String,
    pub(super) principal: Principal,
    pub(super) method: Method,
    pub(super) host: String,
    /// Still percent-encoded.
    pub(super) path: String,
    /// Still percent-encoded, without its question mark.
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The form of a Query request; empty for any other.
    pub(super) form: Form,
}

impl Request {
    pub(super) fn account(&self) -> &str {
        &self.principal.account
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the query string has a parameter of that name, with or without a value.
    pub(super) fn asks(&self, name: &str) -> bool {
        self.query.split('&').any(|pair| pair.split('=').next() == Some(name))
    }

    /// Asks winterbaume, which finds Region and bucket in the host, whatever the endpoint really was.
    pub(super) async fn pass_to(&self, service: &dyn MockService, host: &str) -> Response<Bytes> {
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        let request = MockRequest {
            method: self.method.to_string(),
            uri: format!("https://{host}{}{query}", self.path),
            headers: self.headers.clone(),
            body: self.body.clone(),
        };
        let answer = service.handle(request).await;
        let mut response = Response::new(answer.body);
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
        *response.headers_mut() = answer.headers;
        response
    }
}

/// Whether a service takes forms and answers in XML: the
/// [query protocols](https://smithy.io/2.0/aws/protocols/aws-query-protocol.html).
pub(super) fn is_query(service: &str) -> bool {
    matches!(service, "ec2" | "elasticache" | "iam" | "rds" | "redshift" | "sns" | "sts")
}

/// The form parameters of a Query request, where lists are `Name.1`, `Name.2`.
#[derive(Clone, Debug, Default)]
pub(super) struct Form(HashMap<String, String>);

impl Form {
    pub(super) fn parse(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let decode = |part: &str| percent_decode(&part.replace('+', " "));
        Self(text.split('&').filter_map(|p| p.split_once('=')).map(|(k, v)| (decode(k), decode(v))).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        (1..).map_while(|n| self.get(&format!("{name}.{n}"))).collect()
    }

    /// The members of a structure, lists and structures in it by their paths.
    pub(super) fn below(&self, name: &str) -> BTreeMap<String, String> {
        let prefix = format!("{name}.");
        self.0.iter().filter_map(|(k, v)| Some((k.strip_prefix(&prefix)?.to_owned(), v.clone()))).collect()
    }

    /// The members of a list of structures, each as a form of its own.
    pub(super) fn structures(&self, name: &str) -> Vec<Self> {
        (1..)
            .map_while(|n| {
                let prefix = format!("{name}.{n}.");
                let member: HashMap<_, _> = self
                    .0
                    .iter()
                    .filter_map(|(k, v)| Some((k.strip_prefix(&prefix)?.to_owned(), v.clone())))
                    .collect();
                (!member.is_empty()).then_some(Self(member))
            })
            .collect()
    }
}

pub(super) fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        if let (b'%', Some(byte)) = (first, hex) {
            bytes.push(byte);
            rest = tail.get(2..).unwrap_or_default();
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An error that AWS would answer with.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    /// The error in the form of a service's protocol.
    pub(super) fn response(&self, service: &str) -> Response<Bytes> {
        let (code, message, id) = (escape(&self.code), escape(&self.message), request_id());
        match service {
            "s3" | "s3control" => {
                let error = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
                // S3 Control wraps its errors as IAM does; S3 does not.
                let body = if service == "s3" {
                    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{error}")
                } else {
                    format!("<ErrorResponse>{error}<RequestId>{id}</RequestId></ErrorResponse>")
                };
                respond(self.status, "application/xml", body)
            }
            "ec2" => {
                let error = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
                let body =
                    format!("<Response><Errors>{error}</Errors><RequestID>{id}</RequestID></Response>");
                respond(self.status, "text/xml;charset=UTF-8", body)
            }
            query if is_query(query) => {
                let kind = if self.status < 500 { "Sender" } else { "Receiver" };
                let error = format!("<Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message>");
                let body = format!(
                    "<ErrorResponse xmlns=\"https://{query}.amazonaws.com/doc/\"><Error>{error}</Error>\
                     <RequestId>{id}</RequestId></ErrorResponse>"
                );
                respond(self.status, "text/xml", body)
            }
            _ => {
                // Every JSON protocol of AWS looks at one of these, and overlooks the others.
                let body = json!({ "__type": self.code, "message": self.message, "Message": self.message });
                let mut response = respond(self.status, "application/x-amz-json-1.1", body.to_string());
                if let Ok(code) = HeaderValue::from_str(&self.code) {
                    response.headers_mut().insert("x-amzn-errortype", code);
                }
                response
            }
        }
    }
}

pub(super) fn respond(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// `Response` with a text that was made from the old one.
pub(super) fn rewrite(response: &mut Response<Bytes>, change: impl FnOnce(&str) -> String) {
    let changed = change(&String::from_utf8_lossy(response.body()));
    *response.body_mut() = changed.into();
}

pub(super) fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The end of a resource id of EC2's: 17 hexadecimal digits.
pub(super) fn short_id() -> String {
    uuid::Uuid::new_v4().simple().to_string().chars().take(17).collect()
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Elements of XML, one after the other.
#[derive(Default)]
pub(super) struct Xml(String);

impl Xml {
    pub(super) fn text(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        let value = escape(&value.to_string());
        // Writing to a string does not fail.
        let _ = write!(self.0, "<{name}>{value}</{name}>");
        self
    }

    pub(super) fn optional<T: std::fmt::Display>(self, name: &str, value: Option<T>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// What follows after this.
    pub(super) fn then(mut self, next: &Self) -> Self {
        self.0.push_str(&next.0);
        self
    }

    pub(super) fn nested(mut self, name: &str, inner: &Self) -> Self {
        let _ = write!(self.0, "<{name}>{}</{name}>", inner.0);
        self
    }

    /// A list whose members are called `item`, as EC2's all are.
    pub(super) fn items(self, name: &str, items: impl IntoIterator<Item = Self>) -> Self {
        let inner = items.into_iter().fold(Self::default(), |list, item| list.nested("item", &item));
        self.nested(name, &inner)
    }

    /// A list of texts, each called `item`.
    pub(super) fn list(self, name: &str, texts: &[String]) -> Self {
        let inner = texts.iter().fold(Self::default(), |list, text| list.text("item", text));
        self.nested(name, &inner)
    }

    /// Elements that are written already.
    pub(super) fn raw(xml: String) -> Self {
        Self(xml)
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// What stands in the first element of that name, as it is written.
pub(super) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inner, _)| inner)
}
