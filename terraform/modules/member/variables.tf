variable "name" {
  description = "Name of the deployment, as in the root module: the role is NAME-remediator."
  type        = string
  default     = "redress"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "name: 2 to 20 lower-case letters, digits and hyphens, with a letter first and no hyphen last."
  }
}

variable "dispatcher_role_arn" {
  description = "The dispatcher's role, which may assume this account's (output of the root module)."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/.+$", var.dispatcher_role_arn))
    error_message = "dispatcher_role_arn: the ARN of an IAM role."
  }
}

variable "operators" {
  description = "ARNs of roles that may assume it as well, for `redress --role` on the command line; with the same external id."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.operators : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/.+$", arn))])
    error_message = "operators: ARNs of IAM roles."
  }
}

variable "external_id" {
  description = "External id that is asked for; the same as in the root module."
  type        = string
  default     = null

  validation {
    condition     = var.external_id == null ? true : can(regex("^[A-Za-z0-9+=,.@:/-]+$", var.external_id)) && length(var.external_id) >= 2 && length(var.external_id) <= 1224
    error_message = "external_id: 2 to 1,224 letters, digits and any of + = , . @ : / -."
  }
}

variable "remediators" {
  description = "Remediators that may work in this account (output of the root module; `redress controls` lists all there are). The role has their actions and no others."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.remediators) > 0 && alltrue([for name in var.remediators : fileexists("${path.module}/policies/${name}.json")])
    error_message = "remediators: names of remediators, such as s3.enable_versioning; at least one."
  }
}

variable "access" {
  description = "The most that a run may do in this account: `plan` (reads alone), `apply`, or `undo` (fixes, and the way back)."
  type        = string
  default     = "undo"
  nullable    = false

  validation {
    condition     = contains(["plan", "apply", "undo"], var.access)
    error_message = "access: plan, apply or undo."
  }
}

variable "permissions_boundary" {
  description = "`own` for a boundary of just the actions of the role's policies, so that a policy which is attached later widens nothing; the ARN of a policy of yours; or null for none."
  type        = string
  default     = "own"

  validation {
    condition     = var.permissions_boundary == null || var.permissions_boundary == "own" ? true : can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary))
    error_message = "permissions_boundary: own, the ARN of an IAM policy, or null."
  }
}

variable "tags" {
  description = "Tags of everything that takes tags."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "testing" {
  description = "Only redress's own tests set this: the emulators know no source identity, and the role asks for none."
  type        = bool
  default     = false
  nullable    = false
}
