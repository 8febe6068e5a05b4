# redress in one account and Region: the function and the role that it remediates through.

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
  description = "Region whose findings are handled: where Security Hub is, or the home Region that it aggregates findings in."
  type        = string
}

variable "ceiling" {
  description = "`plan` shows what redress would change; `apply` lets it change what the rules allow."
  type        = string
  default     = "plan"
}

variable "rules" {
  description = "Folder or file of your rules; null for those built in."
  type        = string
  default     = null
}

variable "alarm_emails" {
  description = "Who is told when something is wrong with the deployment."
  type        = list(string)
  default     = []
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
  notify              = { alarms = var.alarm_emails }
  deletion_protection = var.deletion_protection
}

module "member" {
  source = "../../modules/member"

  dispatcher_role_arn = module.redress.dispatcher_role_arn
  remediators         = module.redress.remediators
  external_id         = "redress"
}

output "dispatcher" {
  description = "Name of the function."
  value       = module.redress.dispatcher
}

output "rules_hash" {
  description = "What `redress rules check` prints of the same rules."
  value       = module.redress.rules_hash
}
