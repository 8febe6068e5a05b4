pub(super) mod extend_retention;
