//! `GetMetricStatistics` of CloudWatch, for metrics with one dimension: daily sums of what
//! [`Emulator::count`](super::Emulator::count) was told.
//!
//! The SDK speaks CBOR to CloudWatch
//! ([protocol](https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html)); what is needed of it is
//! written here. Of a request, only the dimension's value is looked at, whose text stands in it as it is.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderValue, Response};
use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::wire::{Request, respond};

/// Sums by account, Region and dimension value; then by day of UTC.
pub(super) type Sums = BTreeMap<(String, String, String), BTreeMap<Date, u64>>;

pub(super) fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

pub(super) fn answer(request: &Request, operation: &str, sums: &Sums) -> Response<Bytes> {
    if operation != "GetMetricStatistics" {
        let mut error = vec![0xa1];
        text(&mut error, "__type");
        text(&mut error, "com.amazonaws.cloudwatch#InvalidAction");
        return cbor(400, error);
    }
    let names = |value: &str| request.body.windows(value.len().max(1)).any(|part| part == value.as_bytes());
    let days = sums
        .iter()
        .find(|((account, region, value), _)| {
            account == request.account() && *region == request.region && names(value)
        })
        .map(|(_, days)| days.clone())
        .unwrap_or_default();
    let mut body = vec![0xa2];
    text(&mut body, "Label");
    text(&mut body, "metric");
    text(&mut body, "Datapoints");
    // An array and maps of unknown length, which end by themselves.
    body.push(0x9f);
    for (day, sum) in days {
        let start = day.to_zoned(TimeZone::UTC).map_or(0, |zoned| zoned.timestamp().as_second());
        body.push(0xbf);
        text(&mut body, "Timestamp");
        // Tag 1: seconds since 1970, as a float.
        body.push(0xc1);
        float(&mut body, start.to_string().parse().unwrap_or_default());
        text(&mut body, "Sum");
        float(&mut body, sum.to_string().parse().unwrap_or_default());
        body.push(0xff);
    }
    body.push(0xff);
    cbor(200, body)
}

/// A text of less than 256 bytes.
fn text(body: &mut Vec<u8>, text: &str) {
    body.extend([0x78, u8::try_from(text.len()).unwrap_or(u8::MAX)]);
    body.extend(text.as_bytes());
}

fn float(body: &mut Vec<u8>, number: f64) {
    body.push(0xfb);
    body.extend(number.to_be_bytes());
}

fn cbor(status: u16, body: Vec<u8>) -> Response<Bytes> {
    let mut response = respond(status, "application/cbor", body);
    response.headers_mut().insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
    response
}
