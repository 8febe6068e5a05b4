output "role_arn" {
  description = "The role that redress assumes in this account."
  value       = aws_iam_role.remediator.arn
}
