//! Amazon Cognito user pools.

pub(crate) mod disable_user;
pub mod policy;
mod pool;
pub(crate) mod protect_pool;
pub mod settings;
pub(crate) mod strengthen_passwords;
pub(crate) mod user;

use crate::Quota;

/// Calls that change users. All pools of an account and Region share
/// [25 requests a second](https://docs.aws.amazon.com/cognito/latest/developerguide/quotas.html#category_operations),
/// the application's own among them; it can't be raised.
pub static USER_UPDATE: Quota = Quota { name: "cognito-idp:UserUpdate", per_second: 25, share: 10 };

/// Calls that list users:
/// [30 requests a second](https://docs.aws.amazon.com/cognito/latest/developerguide/quotas.html#category_operations)
/// for all pools of an account and Region; it can't be raised.
pub static USER_LIST: Quota = Quota { name: "cognito-idp:UserList", per_second: 30, share: 25 };
