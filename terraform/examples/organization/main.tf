# redress for an organization: the function in Security Hub's administrator account, in its home Region, and one role in
# each member account. For many accounts, modules/member/stackset.json is the same role as a CloudFormation template.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }

  # The bucket comes from examples/state-bucket:
  #   terraform init -backend-config=bucket=NAME -backend-config=region=REGION
  backend "s3" {
    key          = "redress/organization.tfstate"
    use_lockfile = true
  }
}

variable "region" {
  description = "Security Hub's home Region."
  type        = string
}

variable "workload_account" {
  description = "A member account, whose role this configuration may assume to set up redress's own."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.workload_account))
    error_message = "workload_account: 12 digits, in quotes."
  }
}

variable "setup_role" {
  description = "The role in the member account that sets things up."
  type        = string
  default     = "OrganizationAccountAccessRole"
}

variable "external_id" {
  description = "A text of your own that redress's roles ask for."
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

data "aws_partition" "current" {}

# The administrator account.
provider "aws" {
  region = var.region
}

provider "aws" {
  alias  = "workload"
  region = var.region

  assume_role {
    role_arn = "arn:${data.aws_partition.current.partition}:iam::${var.workload_account}:role/${var.setup_role}"
  }
}

module "redress" {
  source = "../.."

  ceiling             = var.ceiling
  rules               = var.rules
  member_accounts     = [var.workload_account]
  external_id         = var.external_id
  notify              = { alarms = var.alarm_emails, outcomes = var.alarm_emails }
  deletion_protection = var.deletion_protection
}

# The administrator account has findings of its own.
module "administrator" {
  source = "../../modules/member"

  dispatcher_role_arn = module.redress.dispatcher_role_arn
  remediators         = module.redress.remediators
  external_id         = var.external_id
}

# One such module for each member account.
module "workload" {
  source = "../../modules/member"

  providers = { aws = aws.workload }

  dispatcher_role_arn = module.redress.dispatcher_role_arn
  remediators         = module.redress.remediators
  external_id         = var.external_id
}

output "dispatcher" {
  description = "Name of the function."
  value       = module.redress.dispatcher
}
