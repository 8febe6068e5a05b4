pub(super) mod delete_unused_secret;
