//! The users of one pool, as Cognito lists them, and what the rules say about them.

use std::{sync::Arc, time::Duration};

use aws_config::retry::RetryConfig;
use aws_sdk_cognitoidentityprovider::{
    Client,
    types::{AuthEventType, EventResponseType, EventType, UserType},
};
use jiff::{SignedDuration, Timestamp};
use redress_activity::row::Row;
use redress_remediators::{
    Error, ErrorKind, Key, Pace, Quota,
    cognito::{
        USER_LIST,
        policy::{Policy, Schedule},
    },
};
use redress_router::{
    activity::seen,
    event::shown,
    inactive::{Home, Inactive, Says},
};
use tokio::time::Instant;

use crate::{
    context::Context,
    exit::{Exit, Failure, Result},
};

/// How long a command may go on listing users: millions of them take hours.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often a throttled call is tried again. The pauses between double up to [`LONGEST_PAUSE`].
const TRIES: u32 = 10;
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// How many pages of a user's events are looked through for a sign-in.
const EVENT_PAGES: usize = 3;

/// Reads of users' events. AWS names no quota for them that can be relied on; this one is kept far below those
/// of other reads.
static USER_EVENTS: Quota = Quota { name: "cognito-idp:UserEvents", per_second: 20, share: 10 };

/// One pool.
pub(super) struct Pool<'a> {
    pub(super) context: &'a Context,
    pub(super) id: &'a str,
    cognito: Client,
    pace: Arc<dyn Pace>,
}

/// One user, without anything that says who it is but the name that calls need: it may be an e-mail address,
/// and is never shown.
pub(super) struct User {
    pub(super) sub: String,
    pub(super) name: String,
    pub(super) enabled: bool,
    pub(super) created: Option<Timestamp>,
}

/// A page of users.
pub(super) struct Page {
    pub(super) users: Vec<User>,
    /// Users that can't be told: without a `sub` or a name.
    pub(super) unreadable: usize,
    /// Where the next page begins, if there is one.
    pub(super) next: Option<String>,
}

/// Whether Cognito keeps the pool's sign-ins.
pub(super) enum SignIns {
    /// It does, and this is the last one of the user's that it knows.
    Kept(Option<Timestamp>),
    /// It does not: the pool has no threat protection.
    NotKept,
}

impl<'a> Pool<'a> {
    pub(super) fn new(context: &'a Context, id: &'a str) -> Self {
        // The SDK's own retries would count towards the quota unseen.
        let config = aws_sdk_cognitoidentityprovider::config::Builder::from(&context.reach.aws)
            .retry_config(RetryConfig::disabled())
            .build();
        let pace = context.engine.budget.until(Instant::now() + LONGEST);
        Self { context, id, cognito: Client::from_conf(config), pace }
    }

    /// The key of a user.
    pub(super) fn key(&self, sub: &str) -> Key {
        self.home().user(self.id, sub)
    }

    /// A page of the pool's users, in no certain order.
    pub(super) async fn page(&self, token: Option<&str>) -> Result<Page> {
        self.list(None, token).await
    }

    /// The user whom somebody means by a `sub` or a name.
    pub(super) async fn find(&self, text: &str) -> Result<Option<User>> {
        for attribute in ["sub", "username"] {
            if attribute == "sub" && !is_sub(text) {
                continue;
            }
            let page = self.list(Some(&filter(attribute, text)?), None).await?;
            // Whatever Cognito makes of the filter, nobody else is meant.
            let meant = |user: &User| if attribute == "sub" { user.sub == text } else { user.name == text };
            let mut found: Vec<User> = page.users.into_iter().filter(meant).collect();
            if found.len() > 1 {
                return Err(Failure::new(Exit::Failed, "two users have that name: give the `sub` of one"));
            }
            if let Some(user) = found.pop() {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }

    async fn list(&self, filter: Option<&str>, token: Option<&str>) -> Result<Page> {
        let call = || {
            let request = self.cognito.list_users().user_pool_id(self.id);
            request
                .set_filter(filter.map(ToOwned::to_owned))
                .set_pagination_token(token.map(ToOwned::to_owned))
                .send()
        };
        let page = self.paced(&USER_LIST, call).await.map_err(|error| failure(error, "ListUsers"))?;
        let all = page.users.unwrap_or_default();
        let count = all.len();
        let users: Vec<User> = all.into_iter().filter_map(User::read).collect();
        Ok(Page { unreadable: count - users.len(), users, next: page.pagination_token })
    }

    /// When the user last signed in, by Cognito's own log.
    pub(super) async fn last_sign_in(&self, name: &str) -> Result<SignIns> {
        let mut last = None;
        let mut token: Option<String> = None;
        for _ in 0..EVENT_PAGES {
            let call = || {
                let request = self.cognito.admin_list_user_auth_events().user_pool_id(self.id).username(name);
                request.set_next_token(token.clone()).send()
            };
            let page = match self.paced(&USER_EVENTS, call).await {
                Ok(page) => page,
                Err(error) if error.code.as_deref() == Some("UserPoolAddOnNotEnabledException") => {
                    return Ok(SignIns::NotKept);
                }
                Err(error) => return Err(failure(error, "AdminListUserAuthEvents")),
            };
            last = last.max(page.auth_events().iter().filter_map(signed_in).max());
            token = page.next_token;
            // They come newest first, though that is not promised.
            if last.is_some() || token.is_none() {
                break;
            }
        }
        Ok(SignIns::Kept(last))
    }

    async fn paced<T, E, F>(&self, quota: &'static Quota, mut call: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, E>>,
        Error: From<E>,
    {
        let key = self.key("");
        let mut tried = 0;
        loop {
            self.pace.turn(quota, &key).await?;
            tried += 1;
            match call().await.map_err(Error::from) {
                Err(error)
                    if tried < TRIES && matches!(error.kind, ErrorKind::Throttled | ErrorKind::Transient) =>
                {
                    tokio::time::sleep(LONGEST_PAUSE.min(Duration::from_millis(200 << tried))).await;
                }
                done => return done,
            }
        }
    }

    /// The rule that decides about the user of a row for being inactive, and what it says.
    pub(super) fn policy(&self, row: &Row, at: Timestamp) -> Result<Option<(&str, Policy)>> {
        // The rules are asked as they are about the finding that redress itself would write.
        let finding = Inactive::new(&self.home(), row, Says::Inactive(SignedDuration::ZERO), at).decoded();
        let finding = finding
            .map_err(|_| Failure::new(Exit::Failed, format!("`{}` makes no finding", shown(&row.sub))))?;
        let Some(rule) = self.context.engine.rules.route(&finding) else { return Ok(None) };
        let policy = Policy::of(&rule.source.params)
            .map_err(|error| Failure::input(format!("rule `{}`: {error}", shown(rule.name()))))?;
        Ok(Some((rule.name(), policy)))
    }

    /// When a row rings first by the rules; without one for its user, in a day: there may be one by then.
    pub(super) fn alarm(&self, row: &Row, at: Timestamp) -> Result<Timestamp> {
        let policy = self.policy(row, at)?;
        let alarm = policy.map(|(_, policy)| first_alarm(&schedule(&policy, row, at)));
        let tomorrow = || at.saturating_add(SignedDuration::from_hours(24)).unwrap_or(at);
        Ok(alarm.unwrap_or_else(tomorrow))
    }

    fn home(&self) -> Home {
        Home {
            partition: self.context.engine.settings.partition.clone(),
            account: self.context.caller.account.clone(),
            region: self.context.reach.region.clone(),
        }
    }
}

/// The days that a policy gives the user of a row.
pub(super) fn schedule(policy: &Policy, row: &Row, at: Timestamp) -> Schedule {
    policy.schedule(&seen(row), at)
}

/// When a row rings first: also where that has passed.
pub(super) fn first_alarm(schedule: &Schedule) -> Timestamp {
    schedule.warn_at.map_or(schedule.due_at, |warn_at| warn_at.min(schedule.due_at))
}

impl User {
    fn read(user: UserType) -> Option<Self> {
        let sub = user.attributes().iter().find(|attribute| attribute.name == "sub")?.value.clone()?;
        let created = user.user_create_date.and_then(|date| {
            Timestamp::new(date.secs(), i32::try_from(date.subsec_nanos()).unwrap_or_default()).ok()
        });
        let name = user.username.filter(|name| !name.is_empty())?;
        is_sub(&sub).then_some(Self { sub, name, enabled: user.enabled, created })
    }
}

/// When an event was a sign-in that went well.
fn signed_in(event: &AuthEventType) -> Option<Timestamp> {
    let is_sign_in = event.event_type() == Some(&EventType::SignIn)
        && event.event_response() == Some(&EventResponseType::Pass);
    let date = event.creation_date().filter(|_| is_sign_in)?;
    Timestamp::from_second(date.secs()).ok()
}

/// Whether this is how Cognito writes a `sub`: it becomes part of keys and filters.
pub(super) fn is_sub(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte) || byte == b'-';
    text.len() == 36 && text.bytes().all(digit)
}

/// A [filter](https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ListUsers.html)
/// for one value. Quotation marks within it are escaped by a backslash; how a backslash itself is, AWS does not
/// say.
fn filter(attribute: &str, value: &str) -> Result<String> {
    if value.is_empty()
        || value.chars().count() > 128
        || value.contains('\\')
        || value.contains(char::is_control)
    {
        return Err(Failure::input("that can't be the name of a user: give its `sub`"));
    }
    Ok(format!("{attribute} = \"{}\"", value.replace('"', "\\\"")))
}

/// What AWS says of a call about a user may name it: only the kind and the code are told.
fn failure(error: Error, call: &str) -> Failure {
    let code = error.code.as_deref().unwrap_or(error.kind.as_str()).to_owned();
    // These are about the pool, and worth their words.
    let about_the_pool = matches!(
        code.as_str(),
        "ResourceNotFoundException" | "AccessDeniedException" | "NotAuthorizedException"
    );
    let failure = Failure::from(error);
    let message = if about_the_pool { failure.message.clone() } else { code };
    Failure { message, ..failure }.context(call)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_name_stays_within_its_quotes() {
        assert_eq!(filter("username", "mary").unwrap(), "username = \"mary\"");
        assert_eq!(filter("username", "a\"b").unwrap(), "username = \"a\\\"b\"");
        for bad in ["", "a\\", "a\nb", "\u{0}", &"x".repeat(129)] {
            assert!(filter("username", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_sub_is_a_uuid_in_lower_case() {
        assert!(is_sub("0b7d5c1e-6a2f-4c55-9c3e-2f1f6a7d8e90"));
        for other in
            ["", "mary", "0B7D5C1E-6A2F-4C55-9C3E-2F1F6A7D8E90", "0b7d5c1e-6a2f-4c55-9c3e-2f1f6a7d8e9\""]
        {
            assert!(!is_sub(other), "{other}");
        }
    }
}
