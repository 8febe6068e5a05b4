//! When users of a user pool were last seen, as the sign-in recorder keeps it.

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use jiff::Timestamp;
use redress_remediators::{BoxFuture, Error, ErrorKind, Key, Result};

use crate::engine::Activity;

/// The activity table: `userpool_id` and `sub` are its key, `timestamp` (RFC 3339, UTC) is when the user was
/// last seen.
pub struct ActivityTable {
    client: Client,
    table: String,
}

impl ActivityTable {
    /// The table of this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    async fn read(&self, user: &Key) -> Result<Option<Timestamp>> {
        let (pool, sub) = user
            .id
            .split_once('/')
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "the key is no user of a pool"))?;
        let found = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("userpool_id", AttributeValue::S(pool.to_owned()))
            .key("sub", AttributeValue::S(sub.to_owned()))
            .projection_expression("#timestamp")
            .expression_attribute_names("#timestamp", "timestamp")
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Error::from(error).context(format!("activity table `{}`", self.table)))?;
        let Some(item) = found.item else { return Ok(None) };
        // A row that can't be read proves nothing, and must not pass for one that is missing.
        let unreadable =
            || Error::new(ErrorKind::Invalid, "the user's activity row has no readable `timestamp`");
        let text = item.get("timestamp").and_then(|value| value.as_s().ok()).ok_or_else(unreadable)?;
        text.parse().map(Some).map_err(|_| unreadable())
    }
}

impl Activity for ActivityTable {
    fn last<'a>(&'a self, user: &'a Key) -> BoxFuture<'a, Result<Option<Timestamp>>> {
        Box::pin(self.read(user))
    }
}
