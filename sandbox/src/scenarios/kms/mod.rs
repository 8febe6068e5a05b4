pub(super) mod rotate_key;
