//! Users of user pools.

pub(super) mod disable_user;
