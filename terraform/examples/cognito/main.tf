# Inactive users of a Cognito user pool: the single-account deployment, and the sign-in recorder with its table.
# After `terraform apply`: redress cognito attach POOL --recorder "$(terraform output -raw sign_in_recorder_arn)"

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }
}

variable "region" {
  description = "Region of the user pools, where Security Hub is switched on."
  type        = string
}

variable "user_pools" {
  description = "Ids of the user pools."
  type        = list(string)
}

variable "rules" {
  description = "Folder or file of your rules; rules/examples/cognito.yaml shows them."
  type        = string
  default     = null
}

variable "ceiling" {
  description = "`plan` shows what redress would change; `apply` lets it change what the rules allow."
  type        = string
  default     = "plan"
}

variable "alarm_emails" {
  description = "Who is told when something is wrong with the deployment."
  type        = list(string)
  default     = []
}

variable "ttl_days" {
  description = "Days after which a user's row is first looked at: the least `inactive_days` or `never_signed_in_days` of your rules, less what `warn_days` has more than `grace_days` (docs/deploy.md). Too few are no fault."
  type        = number
  default     = 90
}

variable "deletion_protection" {
  description = "Whether the tables refuse to be deleted: turn it off, and apply, before you destroy."
  type        = bool
  default     = true
}

provider "aws" {
  region = var.region
}

module "redress" {
  source = "../.."

  ceiling             = var.ceiling
  rules               = var.rules
  external_id         = "redress"
  deletion_protection = var.deletion_protection
  notify              = { alarms = var.alarm_emails }
  cognito             = { user_pools = var.user_pools, ttl_days = var.ttl_days }
}

module "member" {
  source = "../../modules/member"

  dispatcher_role_arn = module.redress.dispatcher_role_arn
  remediators         = module.redress.remediators
  external_id         = "redress"
}

output "sign_in_recorder_arn" {
  description = "For `redress cognito attach`."
  value       = module.redress.sign_in_recorder_arn
}
