//! Batches of a `DynamoDB` stream as
//! [Lambda gets them](https://docs.aws.amazon.com/lambda/latest/dg/with-ddb-example.html), made of rows: no
//! emulator says of a row that its time to live has run out, as AWS does.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use redress_activity::row;
use serde_json::{Map, Value, json};

use crate::{
    deployment::{ACCOUNT, REGION},
    error::{Error, Result},
};

/// An item of a table.
pub type Item = HashMap<String, AttributeValue>;

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Its time to live ran out: see
    /// [what tells it](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-streams.html).
    Expired,
    /// Somebody deleted it: such a record has no identity.
    Deleted,
    /// A service deleted it, such as that which replicates a global table.
    DeletedBy(&'static str),
    /// Somebody changed it.
    Modified,
    /// Somebody made it.
    Inserted,
}

impl Change {
    fn name(self) -> &'static str {
        match self {
            Self::Expired | Self::Deleted | Self::DeletedBy(_) => "REMOVE",
            Self::Modified => "MODIFY",
            Self::Inserted => "INSERT",
        }
    }

    fn principal(self) -> Option<&'static str> {
        match self {
            Self::Expired => Some("dynamodb.amazonaws.com"),
            Self::DeletedBy(principal) => Some(principal),
            Self::Deleted | Self::Modified | Self::Inserted => None,
        }
    }
}

/// The stream of the activity table.
#[derive(Debug)]
pub struct Stream {
    arn: String,
    records: AtomicU64,
}

impl Stream {
    /// The stream of this table.
    pub fn of(table: &str) -> Self {
        let arn = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}/stream/2026-01-01T00:00:00.000");
        Self { arn, records: AtomicU64::new(0) }
    }

    /// A record of a row, each with an id and a sequence number of its own.
    ///
    /// # Errors
    /// Where the row holds a type that rows don't have.
    pub fn record(&self, change: Change, row: &Item) -> Result<Value> {
        let number = self.records.fetch_add(1, Ordering::Relaxed);
        let keys = row.iter().filter(|(name, _)| [row::POOL, row::SUB].contains(&name.as_str()));
        let keys: Item = keys.map(|(name, value)| (name.clone(), value.clone())).collect();
        let mut images = json!({
            "ApproximateCreationDateTime": Timestamp::now().as_second(),
            "Keys": image(&keys)?,
            "SequenceNumber": format!("{:024}", 4_000_000_000_u64 + number),
            "SizeBytes": 300,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        });
        let (old, new) = match change {
            Change::Expired | Change::Deleted | Change::DeletedBy(_) => (true, false),
            Change::Modified => (true, true),
            Change::Inserted => (false, true),
        };
        for (name, _) in [("OldImage", old), ("NewImage", new)].iter().filter(|(_, there)| *there) {
            images[*name] = image(row)?;
        }
        let mut record = json!({
            "eventID": format!("{:032x}", 0xc4ca_4238_a0b9_2382_u64 + number),
            "eventName": change.name(),
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": REGION,
            "dynamodb": images,
            "eventSourceARN": self.arn,
        });
        if let Some(principal) = change.principal() {
            record["userIdentity"] = json!({ "type": "Service", "principalId": principal });
        }
        Ok(record)
    }
}

/// The event of a batch.
pub fn batch(records: impl IntoIterator<Item = Value>) -> Value {
    json!({ "Records": records.into_iter().collect::<Vec<_>>() })
}

/// A row in [DynamoDB's JSON](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html).
fn image(row: &Item) -> Result<Value> {
    let attribute = |(name, value): (&String, &AttributeValue)| {
        let value = match value {
            AttributeValue::S(text) => json!({ "S": text }),
            AttributeValue::N(number) => json!({ "N": number }),
            AttributeValue::Bool(truth) => json!({ "BOOL": truth }),
            _ => return Err(Error::new(format!("`{name}` is of no type that rows have"))),
        };
        Ok((name.clone(), value))
    };
    Ok(Value::Object(row.iter().map(attribute).collect::<Result<Map<_, _>>>()?))
}
