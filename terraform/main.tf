data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  # The one name of it that versions 5 and 6 of the provider share without a warning.
  region   = data.aws_region.current.id
  accounts = sort(distinct(concat([local.account], var.member_accounts)))
  packages = coalesce(var.packages, "${path.module}/../target/package")

  # What the generated policies leave open.
  place = { partition = local.partition, region = local.region, account = local.account, name = var.name }
}

# Queue

resource "aws_sqs_queue" "dead" {
  # Where events stay that could not be handled: from the queue itself and the function (`findings`), from EventBridge
  # (`events`), from the hourly schedule (`async`), from the activity table (`stream`).
  for_each = toset(concat(["findings", "events", "async"], var.cognito == null ? [] : ["stream"]))

  name                      = "${var.name}-${each.key}-dead"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn
  tags                      = var.tags
}

resource "aws_sqs_queue" "findings" {
  name                      = "${var.name}-findings"
  message_retention_seconds = 1209600
  # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html: six times the function's time at least.
  visibility_timeout_seconds = 6 * local.timeout
  sqs_managed_sse_enabled    = var.kms_key_arn == null ? true : null
  kms_master_key_id          = var.kms_key_arn
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead["findings"].arn
    maxReceiveCount     = 10
  })
  tags = var.tags
}

resource "aws_sqs_queue_redrive_allow_policy" "findings" {
  queue_url = aws_sqs_queue.dead["findings"].url
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.findings.arn]
  })
}

# The function believes what comes from this queue: only EventBridge puts anything in, by our own rules, and who
# operates the deployment puts back what was dead.
resource "aws_sqs_queue_policy" "findings" {
  queue_url = aws_sqs_queue.findings.url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid       = "OwnRulesOnly"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = aws_sqs_queue.findings.arn
        Condition = { ArnLike = { "aws:SourceArn" = local.event_rules } }
      },
      {
        Sid       = "NobodyElse"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:SendMessage"
        Resource  = aws_sqs_queue.findings.arn
        Condition = { ArnNotLike = merge(
          { "aws:SourceArn" = local.event_rules },
          length(var.operators) > 0 ? { "aws:PrincipalArn" = var.operators } : null,
        ) }
      },
      ], var.testing != null ? [] : [{
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:*"
        Resource  = aws_sqs_queue.findings.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }])
  })
}

# What lies in these two is put back into the queue one day, and believed then: nobody puts anything in beforehand.
resource "aws_sqs_queue_policy" "findings_dead" {
  queue_url = aws_sqs_queue.dead["findings"].url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "DispatcherOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "sqs:SendMessage"
      Resource  = aws_sqs_queue.dead["findings"].arn
      Condition = {
        ArnNotLike = { "aws:PrincipalArn" = local.dispatcher_sessions }
        # SQS itself moves in what came back too often, as nobody. Who else has no ARN, or is a service, would need an
        # Allow, and there is none.
        Null         = { "aws:PrincipalArn" = "false" }
        BoolIfExists = { "aws:PrincipalIsAWSService" = "false" }
      }
    }]
  })
}

resource "aws_sqs_queue_policy" "events_dead" {
  queue_url = aws_sqs_queue.dead["events"].url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "OwnRulesOnly"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = aws_sqs_queue.dead["events"].arn
        Condition = { ArnLike = { "aws:SourceArn" = local.event_rules } }
      },
      {
        Sid       = "NobodyElse"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:SendMessage"
        Resource  = aws_sqs_queue.dead["events"].arn
        Condition = { ArnNotLike = { "aws:SourceArn" = local.event_rules } }
      },
    ]
  })
}

locals {
  # By their names: a policy that lists each outgrows the 8,192 bytes that SQS takes at some forty rules.
  # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html
  event_rules = "arn:${local.partition}:events:${local.region}:${local.account}:rule/${var.name}-*"

  # AWS gives the role's ARN for each of its sessions, emulators the session's own.
  # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalarn
  dispatcher_sessions = concat(
    [aws_iam_role.dispatcher.arn],
    var.testing == null ? [] : ["arn:${local.partition}:sts::${local.account}:assumed-role/${var.name}-dispatcher/*"],
  )
}

# Tables

resource "aws_dynamodb_table" "state" {
  # checkov:skip=CKV_AWS_119: AWS's own key encrypts it; `kms_key_arn` takes one of yours
  name                        = "${var.name}-state"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "key"
  deletion_protection_enabled = var.deletion_protection
  tags                        = var.tags

  attribute {
    name = "key"
    type = "S"
  }

  ttl {
    attribute_name = "expires"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = var.kms_key_arn != null
    kms_key_arn = var.kms_key_arn
  }
}

resource "aws_dynamodb_table" "audit" {
  # checkov:skip=CKV_AWS_119: AWS's own key encrypts it; `kms_key_arn` takes one of yours
  name                        = "${var.name}-audit"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = var.deletion_protection
  tags                        = var.tags

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  ttl {
    attribute_name = "expires"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = var.kms_key_arn != null
    kms_key_arn = var.kms_key_arn
  }
}
