//! ECR repositories.

pub(crate) mod make_tags_immutable;
mod repository;
pub(crate) mod scan_on_push;
