# Inactive users of Cognito user pools: docs/cognito.md.

locals {
  cognito = var.cognito == null ? [] : [var.cognito]
  pools   = var.cognito == null ? [] : var.cognito.user_pools
}

resource "aws_dynamodb_table" "activity" {
  # checkov:skip=CKV_AWS_119: AWS's own key encrypts it; `kms_key_arn` takes one of yours
  count = length(local.cognito)

  name                        = "${var.name}-activity"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "userpool_id"
  range_key                   = "sub"
  stream_enabled              = true
  stream_view_type            = "NEW_AND_OLD_IMAGES"
  deletion_protection_enabled = var.deletion_protection
  tags                        = var.tags

  attribute {
    name = "userpool_id"
    type = "S"
  }

  attribute {
    name = "sub"
    type = "S"
  }

  ttl {
    attribute_name = "ttl"
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

resource "aws_lambda_event_source_mapping" "activity" {
  count = length(local.cognito)

  function_name           = aws_lambda_function.dispatcher.arn
  event_source_arn        = aws_dynamodb_table.activity[0].stream_arn
  starting_position       = "TRIM_HORIZON"
  batch_size              = 100
  function_response_types = ["ReportBatchItemFailures"]
  # What is throttled, or has no turn within Cognito's quota, comes again with its batch. An hour before the stream
  # forgets a record, it is told to the dead-letter queue.
  maximum_record_age_in_seconds = 82800
  maximum_retry_attempts        = -1
  tags                          = var.tags

  # Expiries only: what a person, a replica or another service does to a row has no effect.
  filter_criteria {
    filter {
      pattern = jsonencode({
        eventName    = ["REMOVE"]
        userIdentity = { type = ["Service"], principalId = ["dynamodb.amazonaws.com"] }
      })
    }
  }

  destination_config {
    on_failure {
      destination_arn = aws_sqs_queue.dead["stream"].arn
    }
  }
}

resource "aws_iam_role" "recorder" {
  count = length(local.cognito)

  name                 = "${var.name}-sign-in"
  description          = "Writes down when users of Cognito user pools were last seen"
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "recorder" {
  count = length(local.cognito)

  name = "sign-in"
  role = aws_iam_role.recorder[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = flatten([
      for part in concat(["recorder"], var.kms_key_arn == null ? [] : ["recorder-key"]) :
      jsondecode(templatefile("${path.module}/policies/${part}.json", merge(local.place, { key = coalesce(var.kms_key_arn, "none") }))).Statement
    ])
  })
}

resource "aws_cloudwatch_log_group" "recorder" {
  count = length(local.cognito)

  name              = "/aws/lambda/${var.name}-sign-in"
  retention_in_days = var.retention.logs
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_lambda_function" "recorder" {
  # checkov:skip=CKV_AWS_117: it speaks to AWS's public endpoints only, and reaches nothing in a VPC
  # checkov:skip=CKV_AWS_272: packages are proven by provenance attestation and checksums: docs/releasing.md
  # checkov:skip=CKV_AWS_115: sign-ins of users must never be throttled by a limit of its own
  # checkov:skip=CKV_AWS_116: Cognito calls it synchronously: there is nothing to put aside
  # checkov:skip=CKV_AWS_173: the settings are no secrets; `kms_key_arn` encrypts them with a key of yours
  count = length(local.cognito)

  function_name    = "${var.name}-sign-in"
  description      = "Writes down when users of Cognito user pools were last seen"
  role             = aws_iam_role.recorder[0].arn
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = [var.architecture]
  filename         = "${local.packages}/${var.architecture}/sign-in.zip"
  source_code_hash = filebase64sha256("${local.packages}/${var.architecture}/sign-in.zip")
  memory_size      = 128
  # Cognito waits five seconds; the function answers within two, whatever happens.
  timeout     = 5
  kms_key_arn = var.kms_key_arn
  tags        = var.tags

  environment {
    variables = merge(
      {
        REDRESS_ACTIVITY_TABLE       = aws_dynamodb_table.activity[0].name
        REDRESS_TTL_DAYS             = tostring(var.cognito.ttl_days)
        REDRESS_INTERVAL_MINUTES     = tostring(var.cognito.interval_minutes)
        REDRESS_COUNT_PASSWORD_RESET = var.cognito.count_password_reset ? "on" : "off"
      },
      var.environment,
    )
  }

  logging_config {
    log_format            = "JSON"
    application_log_level = "INFO"
    system_log_level      = "INFO"
    log_group             = aws_cloudwatch_log_group.recorder[0].name
  }

  tracing_config {
    mode = "Active"
  }

  depends_on = [aws_iam_role_policy.recorder]
}

# `redress cognito attach` sets the trigger: to set it here would reset every other setting of a pool that is not
# managed in the same place.
resource "aws_lambda_permission" "recorder" {
  for_each = toset(local.pools)

  statement_id   = each.key
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.recorder[0].function_name
  principal      = "cognito-idp.amazonaws.com"
  source_arn     = "arn:${local.partition}:cognito-idp:${local.region}:${local.account}:userpool/${each.key}"
  source_account = local.account
}
