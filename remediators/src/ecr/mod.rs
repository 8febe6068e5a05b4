//! ECR repositories.
