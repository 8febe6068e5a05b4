variable "name" {
  description = "Name of the deployment, and prefix of everything in it. The command line finds it by this name: `redress --deployment NAME`."
  type        = string
  default     = "redress"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "name: 2 to 20 lower-case letters, digits and hyphens, with a letter first and no hyphen last."
  }
}

variable "ceiling" {
  description = "How far any run goes: `off`, `plan` (shows what it would change), or `apply`. Nothing is changed before it is `apply`, whatever the rules say."
  type        = string
  default     = "plan"
  nullable    = false

  validation {
    condition     = contains(["off", "plan", "apply"], var.ceiling)
    error_message = "ceiling: off, plan or apply."
  }
}

variable "rules" {
  description = "Rules file, or folder of rules files (`*.yaml`) with an `exemptions.yaml` where there are any; null for the rules that redress has built in. The function and the event patterns are made of the same files."
  type        = string
  default     = null

  validation {
    condition     = var.rules == null ? true : try(fileexists(var.rules), false) || length(fileset(var.rules, "*.{yaml,yml}")) > 0
    error_message = "rules: neither a file nor a folder with *.yaml files in it."
  }
}

variable "packages" {
  description = "Folder of the functions' packages, as a release or `cargo xtask package` gives them: `x86_64/dispatcher.zip`, `x86_64/sign-in.zip`, the same for `arm64`; null for `target/package` of this repository."
  type        = string
  default     = null
}

variable "architecture" {
  description = "Processor of the functions: `x86_64`, or `arm64` (a fifth cheaper)."
  type        = string
  default     = "x86_64"
  nullable    = false

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture: x86_64 or arm64."
  }
}

variable "member_accounts" {
  description = "Accounts whose findings are served, besides this one. Each needs the role of modules/member."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for account in var.member_accounts : can(regex("^[0-9]{12}$", account))])
    error_message = "member_accounts: account ids of 12 digits, in quotes."
  }
}

variable "external_id" {
  description = "External id that the roles of modules/member ask for; the same there."
  type        = string
  default     = null

  validation {
    condition     = var.external_id == null ? true : can(regex("^[A-Za-z0-9+=,.@:/-]+$", var.external_id)) && length(var.external_id) >= 2 && length(var.external_id) <= 1224
    error_message = "external_id: 2 to 1,224 letters, digits and any of + = , . @ : / -."
  }
}

variable "concurrency" {
  description = "Events that are handled at the same time, ten a run of the function: `maximum` brakes what a storm of findings sets off; `reserved` (null for none) sets as many runs aside for the function in this account, and is not below the brake."
  type = object({
    maximum  = optional(number, 5)
    reserved = optional(number)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.concurrency.maximum >= 2 && var.concurrency.maximum <= 1000 && floor(var.concurrency.maximum) == var.concurrency.maximum
    error_message = "concurrency.maximum: 2 to 1000, as Lambda takes it for a queue."
  }

  validation {
    condition     = var.concurrency.reserved == null ? true : var.concurrency.reserved >= var.concurrency.maximum
    error_message = "concurrency.reserved: not below concurrency.maximum, else Lambda throttles its own queue."
  }
}

variable "retention" {
  description = "Days that are kept: `records` of the audit trail (undo reaches as far back), and `logs`."
  type = object({
    records = optional(number, 400)
    logs    = optional(number, 400)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.retention.records >= 1 && var.retention.records <= 36500 && floor(var.retention.records) == var.retention.records
    error_message = "retention.records: 1 to 36,500 days."
  }

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.retention.logs)
    error_message = "retention.logs: one of the numbers of days that CloudWatch Logs knows, such as 90, 365, 400 or 731."
  }
}

variable "kms_key_arn" {
  description = "Key of your own for tables, queues, topics, logs and the functions' settings; its policy needs the statements of the output `kms_key_statements`. Null for keys that AWS owns."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a key (not of an alias)."
  }
}

variable "notify" {
  description = "E-mail addresses that are told: `alarms` when something is wrong with the deployment, `outcomes` of every change that was made, undone, refused or failed. Each gets a message to confirm first."
  type = object({
    alarms   = optional(list(string), [])
    outcomes = optional(list(string), [])
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for address in concat(var.notify.alarms, var.notify.outcomes) : can(regex("^[^@[:space:]]+@[^@[:space:]]+$", address))])
    error_message = "notify: e-mail addresses."
  }
}

variable "archive" {
  description = "A bucket for a second copy of the audit trail, which nobody can alter before its time (S3 object lock); null for none. `mode` is GOVERNANCE (a privileged user may delete) or COMPLIANCE (nobody may)."
  type = object({
    bucket = string
    days   = optional(number, 400)
    mode   = optional(string, "GOVERNANCE")
  })
  default = null

  validation {
    condition     = var.archive == null ? true : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.archive.bucket))
    error_message = "archive.bucket: the name of a new bucket."
  }

  validation {
    condition     = var.archive == null ? true : var.archive.days >= 1 && var.archive.days <= 36500
    error_message = "archive.days: 1 to 36,500."
  }

  validation {
    condition     = var.archive == null ? true : contains(["GOVERNANCE", "COMPLIANCE"], var.archive.mode)
    error_message = "archive.mode: GOVERNANCE or COMPLIANCE."
  }
}

variable "cognito" {
  description = "Looks after inactive users of these user pools (ids) of this account and Region: a table of who was last seen when, and the sign-in recorder to attach to them. Null for none. docs/cognito.md explains the settings."
  type = object({
    user_pools              = list(string)
    ttl_days                = optional(number, 90)
    interval_minutes        = optional(number, 60)
    count_password_reset    = optional(bool, false)
    user_updates_per_second = optional(number, 10)
  })
  default = null

  validation {
    condition     = var.cognito == null ? true : length(var.cognito.user_pools) > 0 && alltrue([for pool in var.cognito.user_pools : can(regex("^[a-z0-9-]+_[A-Za-z0-9]+$", pool))])
    error_message = "cognito.user_pools: ids of user pools, such as eu-west-1_AbCdEfGhI."
  }

  validation {
    condition     = var.cognito == null ? true : var.cognito.ttl_days >= 1 && var.cognito.ttl_days <= 3650
    error_message = "cognito.ttl_days: 1 to 3,650."
  }

  validation {
    condition     = var.cognito == null ? true : var.cognito.interval_minutes >= 0 && var.cognito.interval_minutes <= 1440
    error_message = "cognito.interval_minutes: 0 to 1,440."
  }

  validation {
    condition     = var.cognito == null ? true : var.cognito.user_updates_per_second >= 1 && var.cognito.user_updates_per_second <= 25
    error_message = "cognito.user_updates_per_second: 1 to 25, which is all that Cognito gives an account."
  }
}

variable "finding_formats" {
  description = "Formats in which Security Hub sends findings here: `ASFF` (Security Hub CSPM), `OCSF` (the newer Security Hub). With both, a finding that comes twice is handled once."
  type        = list(string)
  default     = ["ASFF"]
  nullable    = false

  validation {
    condition     = length(var.finding_formats) > 0 && alltrue([for format in var.finding_formats : contains(["ASFF", "OCSF"], format)])
    error_message = "finding_formats: ASFF, OCSF, or both."
  }
}

variable "permissions_boundary" {
  description = "ARN of a policy that bounds the functions' own roles, where your organization asks for one."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary == null ? true : can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary))
    error_message = "permissions_boundary: the ARN of an IAM policy."
  }
}

variable "operators" {
  description = "ARNs of the roles that operate the deployment: they alone may move messages from the dead-letter queue back to the queue (docs/operate.md), which nobody else can put anything into."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.operators : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(role|user)/.+$", arn))])
    error_message = "operators: ARNs of IAM roles or users."
  }
}

variable "deletion_protection" {
  description = "Whether the tables refuse to be deleted. Turn it off, and apply, before you remove the deployment."
  type        = bool
  default     = true
  nullable    = false
}

variable "tags" {
  description = "Tags of everything that takes tags."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "environment" {
  description = "More `REDRESS_*` and SDK variables for the functions (router/src/config.rs), such as REDRESS_LOG (with `debug` or `trace`, Lambda lets the dispatcher's lines of that level through as well) or REDRESS_SETTLE_SECONDS."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "testing" {
  description = "Only redress's own tests set this. `event_source`: whose events are taken for Security Hub's, since nobody but AWS can send those of `aws.securityhub`, and anybody who may put events can send any other. The queue is then also reached without TLS, and the dead-letter queue by sessions under their own ARNs, as in emulators."
  type        = object({ event_source = string })
  default     = null
}
