# The role through which redress works in an account. A run has not all of it: its session policy leaves the actions of
# one remediator, on one resource.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition

  place = { partition = local.partition, account = local.account }
  # Beside the remediators' own: the parameters of a control, where a finding does not say them.
  shares = merge(
    {
      for name in sort(distinct(var.remediators)) :
      name => jsondecode(templatefile("${path.module}/policies/${name}.json", local.place))[var.access].Statement
    },
    { control-parameters = jsondecode(templatefile("${path.module}/policies/control-parameters.json", local.place)).Statement },
  )

  # A role takes ten managed policies of 6,144 characters each; as JSON, without what AWS leaves out of the count.
  per_policy = 8
  policies   = { for number, names in chunklist(keys(local.shares), local.per_policy) : format("%02d", number) => names }
  actions    = sort(distinct(flatten([for statements in values(local.shares) : [for statement in statements : statement.Action]])))
}

resource "aws_iam_role" "remediator" {
  name                 = "${var.name}-remediator"
  description          = "Through this role redress looks at resources of this account and remediates them"
  max_session_duration = 3600
  permissions_boundary = var.permissions_boundary == "own" ? aws_iam_policy.boundary[0].arn : var.permissions_boundary
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "RedressOnly"
      Effect    = "Allow"
      Principal = { AWS = concat([var.dispatcher_role_arn], var.operators) }
      Action    = ["sts:AssumeRole", "sts:SetSourceIdentity"]
      Condition = {
        StringEquals = merge(
          var.testing ? {} : { "sts:SourceIdentity" = "redress" },
          var.external_id == null ? {} : { "sts:ExternalId" = var.external_id },
        )
      }
    }]
  })
}

resource "aws_iam_policy" "remediator" {
  for_each = local.policies

  name        = "${var.name}-remediator-${each.key}"
  description = join(", ", each.value)
  tags        = var.tags

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = flatten([for name in each.value : local.shares[name]])
  })

  lifecycle {
    precondition {
      condition     = length(jsonencode([for name in each.value : local.shares[name]])) <= 6000
      error_message = "remediators: the share of ${join(", ", each.value)} is longer than the 6,144 characters of a managed policy."
    }

    precondition {
      condition     = length(local.policies) <= 10
      error_message = "remediators: so many need more than the ten managed policies that a role takes; leave out those that no rule names."
    }
  }
}

resource "aws_iam_role_policy_attachment" "remediator" {
  for_each = aws_iam_policy.remediator

  role       = aws_iam_role.remediator.name
  policy_arn = each.value.arn
}

# Grants nothing: what a role may do is what its policies and its boundary both say.
resource "aws_iam_policy" "boundary" {
  count = var.permissions_boundary == "own" ? 1 : 0

  name        = "${var.name}-remediator-boundary"
  description = "The most that ${var.name}-remediator may ever do"
  tags        = var.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "NothingElse"
      Effect   = "Allow"
      Action   = local.actions
      Resource = "*"
    }]
  })
}
