//! When users of user pools were last seen: the activity table, as the sign-in recorder writes it.

use std::{collections::HashMap, sync::Arc};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::put_item::PutItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use jiff::{SignedDuration, Timestamp};
use redress_activity::row::{self, Phase, Row};
use redress_remediators::{BoxFuture, Error, ErrorKind, Key, LastSeen, Result};

use crate::{
    engine::Activity,
    losses::{CloudWatch, Losses},
    store::{Clock, Store},
};

/// When a user who was enabled again is looked at next, to be given its days by the rules.
const SOON: SignedDuration = SignedDuration::from_hours(24);

/// The activity table.
pub struct ActivityTable {
    client: Client,
    table: String,
    losses: Arc<Losses>,
}

/// What became of a row that was to be put back.
#[derive(Clone, Debug, PartialEq)]
pub enum PutBack {
    /// It is there again.
    Done,
    /// There is one already: the user was seen since, or this very row is back.
    Exists(Box<Row>),
}

impl ActivityTable {
    /// The table of this name. CloudWatch tells of the sign-ins that are missing in it, and the store which of
    /// them are accounted for.
    pub fn new(aws: &SdkConfig, table: impl Into<String>, store: Arc<dyn Store>, clock: Clock) -> Self {
        let cloudwatch = CloudWatch::new(aws_sdk_cloudwatch::Client::new(aws), Arc::clone(&clock));
        let losses = Arc::new(Losses::new(Arc::new(cloudwatch), store, clock));
        Self { client: Client::new(aws), table: table.into(), losses }
    }

    /// The sign-ins that are missing in the table.
    pub fn losses(&self) -> &Arc<Losses> {
        &self.losses
    }

    /// A user's row, read consistently.
    ///
    /// # Errors
    /// As DynamoDB said it; [`ErrorKind::Invalid`] where the row can't be read. It proves nothing then, and
    /// must not pass for one that is missing.
    pub async fn row(&self, pool: &str, sub: &str) -> Result<Option<Row>> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(Row::key(pool, sub)));
        let found = request.consistent_read(true).send().await.map_err(|error| self.error(error))?;
        found.item.as_ref().map(read).transpose()
    }

    /// Writes a row unless there is one.
    ///
    /// # Errors
    /// As DynamoDB said it.
    pub async fn put_back(&self, row: &Row) -> Result<PutBack> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(row.item()))
            .condition_expression("attribute_not_exists(#sub)")
            .expression_attribute_names("#sub", row::SUB)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let Err(error) = put.send().await else { return Ok(PutBack::Done) };
        let there = match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(failed)) => match &failed.item {
                Some(item) => Some(read(item)?),
                None => self.row(&row.pool, &row.sub).await?,
            },
            _ => return Err(self.error(error)),
        };
        match there {
            Some(row) => Ok(PutBack::Exists(Box::new(row))),
            None => Err(Error::new(ErrorKind::Transient, "the row was there and is gone")),
        }
    }

    /// Replaces a row by another, on condition that the user was not seen since it was read.
    ///
    /// # Errors
    /// As DynamoDB said it.
    pub async fn replace(&self, before: &Row, after: &Row) -> Result<bool> {
        let restored = before.item().remove(row::RESTORED);
        let condition = match restored {
            Some(_) => "#seen = :seen AND #restored = :restored",
            None => "#seen = :seen AND attribute_not_exists(#restored)",
        };
        let mut put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(after.item()))
            .condition_expression(condition)
            .expression_attribute_names("#seen", row::TIMESTAMP)
            .expression_attribute_names("#restored", row::RESTORED)
            .expression_attribute_values(":seen", AttributeValue::S(before.timestamp()));
        if let Some(restored) = restored {
            put = put.expression_attribute_values(":restored", restored);
        }
        self.held(put.send().await)
    }

    /// Removes the row of a user who does not exist any more, unless it was seen since the row was read.
    ///
    /// # Errors
    /// As DynamoDB said it.
    pub async fn close(&self, row: &Row) -> Result<()> {
        let delete = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(Row::key(&row.pool, &row.sub)))
            .condition_expression("#seen = :seen")
            .expression_attribute_names("#seen", row::TIMESTAMP)
            .expression_attribute_values(":seen", AttributeValue::S(row.timestamp()));
        self.held(delete.send().await).map(drop)
    }

    /// Whether the condition of a write held, and the write was made.
    fn held<T, E>(&self, sent: std::result::Result<T, SdkError<E, HttpResponse>>) -> Result<bool>
    where
        E: ProvideErrorMetadata,
        Error: From<SdkError<E, HttpResponse>>,
    {
        match sent {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(false),
            Err(error) => Err(self.error(error)),
        }
    }

    fn error<E>(&self, error: SdkError<E, HttpResponse>) -> Error
    where
        Error: From<SdkError<E, HttpResponse>>,
    {
        let error = Error::from(error).context(format!("activity table `{}`", self.table));
        // A table that is not there is no user that is not there.
        let kind = if error.kind == ErrorKind::NotFound { ErrorKind::Rejected } else { error.kind };
        Error { kind, ..error }
    }

    async fn last_seen(&self, user: &Key) -> Result<Option<LastSeen>> {
        let (pool, sub) = pool_and_sub(user)?;
        let Some(row) = self.row(pool, sub).await? else { return Ok(None) };
        let in_doubt = self.losses.in_doubt(pool, row.since()).await?;
        Ok(Some(LastSeen { in_doubt, ..seen(&row) }))
    }

    async fn mark_disabled(&self, user: &Key, seen: &LastSeen, run: &str) -> Result<bool> {
        let (pool, sub) = pool_and_sub(user)?;
        let Some(before) = self.row(pool, sub).await? else { return Ok(false) };
        if before.since() != seen.since {
            return Ok(false);
        }
        let after =
            Row { phase: Some(Phase::Disabled), ttl: None, run: Some(run.to_owned()), ..before.clone() };
        self.replace(&before, &after).await
    }

    async fn mark_restored(&self, user: &Key, at: Timestamp) -> Result<()> {
        let (pool, sub) = pool_and_sub(user)?;
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Row::key(pool, sub)))
            // A user without a row is one whom nobody watches: there is no clock to set.
            .condition_expression("attribute_exists(#sub)")
            .update_expression("SET #restored = :at, #ttl = :ttl REMOVE #phase, #warned, #ring, #run")
            .expression_attribute_names("#sub", row::SUB)
            .expression_attribute_names("#restored", row::RESTORED)
            .expression_attribute_names("#ttl", row::TTL)
            .expression_attribute_names("#phase", row::PHASE)
            .expression_attribute_names("#warned", row::WARNED)
            .expression_attribute_names("#ring", row::RING)
            .expression_attribute_names("#run", row::RUN)
            .expression_attribute_values(":at", AttributeValue::S(row::written(at)))
            .expression_attribute_values(
                ":ttl",
                AttributeValue::N(at.saturating_add(SOON).unwrap_or(at).as_second().to_string()),
            );
        self.held(update.send().await).map(drop)
    }
}

impl Activity for ActivityTable {
    fn last<'a>(&'a self, user: &'a Key) -> BoxFuture<'a, Result<Option<LastSeen>>> {
        Box::pin(self.last_seen(user))
    }

    fn disabled<'a>(
        &'a self,
        user: &'a Key,
        seen: &'a LastSeen,
        run: &'a str,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(self.mark_disabled(user, seen, run))
    }

    fn restored<'a>(&'a self, user: &'a Key, at: Timestamp) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.mark_restored(user, at))
    }
}

/// What a row says of its user. Of lost sign-ins it knows nothing.
pub fn seen(row: &Row) -> LastSeen {
    LastSeen { since: row.since(), signed_in: row.signed_in, warned: row.warned, in_doubt: None }
}

fn pool_and_sub(user: &Key) -> Result<(&str, &str)> {
    user.id.split_once('/').ok_or_else(|| Error::new(ErrorKind::Invalid, "the key is no user of a pool"))
}

fn read(item: &HashMap<String, AttributeValue>) -> Result<Row> {
    Row::read(item).map_err(|unreadable| Error::new(ErrorKind::Invalid, unreadable.to_string()))
}
