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

provider "aws" {
  region = var.region
}

module "redress" {
  source = "../.."

  rules       = var.rules
  external_id = "redress"
  cognito     = { user_pools = var.user_pools }
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
