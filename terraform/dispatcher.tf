locals {
  # A fix takes seconds. A batch of users who are disabled waits 15 seconds for sign-ins that may be on their way.
  timeout = 120

  # Never above INFO: records, of which the log is the second copy, and metrics are lines of that level.
  log_level = try(regex("^DEBUG$|^TRACE$", upper(var.environment.REDRESS_LOG)), "INFO")

  dispatcher_parts = concat(
    ["dispatcher"],
    contains(var.finding_formats, "OCSF") ? ["ocsf"] : [],
    var.cognito == null ? [] : ["cognito"],
    var.kms_key_arn == null ? [] : ["key"],
  )
  dispatcher_statements = concat(
    flatten([
      for part in local.dispatcher_parts :
      jsondecode(templatefile("${path.module}/policies/${part}.json", merge(local.place, { key = coalesce(var.kms_key_arn, "none") }))).Statement
    ]),
  )

  # One statement for all accounts: the policies that are written into a role hold 10,240 characters in all.
  # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
  member_statements = [
    for statement in jsondecode(templatefile("${path.module}/policies/member.json", merge(local.place, { member = "MEMBER" }))).Statement :
    merge(statement, {
      Sid      = replace(statement.Sid, "MEMBER", "")
      Resource = flatten([for account in local.accounts : [for on in statement.Resource : replace(on, "MEMBER", account)]])
    })
  ]
  dispatcher_policy = jsonencode({ Version = "2012-10-17", Statement = concat(local.dispatcher_statements, local.member_statements) })
}

resource "aws_iam_role" "dispatcher" {
  name                 = "${var.name}-dispatcher"
  description          = "Receives, records, reports, and assumes the roles that remediate; changes nothing by itself"
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

resource "aws_iam_role_policy" "dispatcher" {
  name   = "dispatcher"
  role   = aws_iam_role.dispatcher.id
  policy = local.dispatcher_policy

  lifecycle {
    precondition {
      condition     = length(local.dispatcher_policy) <= 10240
      error_message = "The dispatcher's policy has ${length(local.dispatcher_policy)} characters, and IAM takes 10,240: `member_accounts` has too many accounts for one deployment."
    }
  }
}

resource "aws_cloudwatch_log_group" "dispatcher" {
  name              = "/aws/lambda/${var.name}-dispatcher"
  retention_in_days = var.retention.logs
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_lambda_function" "dispatcher" {
  # checkov:skip=CKV_AWS_117: it speaks to AWS's public endpoints only, and reaches nothing in a VPC
  # checkov:skip=CKV_AWS_272: packages are proven by provenance attestation and checksums: docs/releasing.md
  # checkov:skip=CKV_AWS_115: the mapping's maximum concurrency is the brake; `concurrency.reserved` sets some aside
  # checkov:skip=CKV_AWS_116: aws_lambda_event_invoke_config has an on-failure destination, and the queue dead letters of its own
  # checkov:skip=CKV_AWS_173: the settings are no secrets; `kms_key_arn` encrypts them with a key of yours
  function_name                  = "${var.name}-dispatcher"
  description                    = "Turns Security Hub findings into safe, reversible fixes"
  role                           = aws_iam_role.dispatcher.arn
  runtime                        = "provided.al2023"
  handler                        = "bootstrap"
  architectures                  = [var.architecture]
  filename                       = "${local.packages}/${var.architecture}/dispatcher.zip"
  source_code_hash               = filebase64sha256("${local.packages}/${var.architecture}/dispatcher.zip")
  layers                         = [aws_lambda_layer_version.rules.arn]
  memory_size                    = 256
  timeout                        = local.timeout
  reserved_concurrent_executions = coalesce(var.concurrency.reserved, -1)
  kms_key_arn                    = var.kms_key_arn
  tags                           = var.tags

  environment {
    variables = merge(
      {
        REDRESS_DEPLOYMENT      = var.name
        REDRESS_CEILING         = var.ceiling
        REDRESS_RULES           = "/opt/rules"
        REDRESS_RULES_HASH      = local.rules_hash
        REDRESS_STATE_TABLE     = aws_dynamodb_table.state.name
        REDRESS_AUDIT_TABLE     = aws_dynamodb_table.audit.name
        REDRESS_RETENTION_DAYS  = tostring(var.retention.records)
        REDRESS_MEMBER_ROLE     = "${var.name}-remediator"
        REDRESS_MEMBER_ACCOUNTS = join(",", local.accounts)
        REDRESS_WRITE_BACK      = "on"
        REDRESS_EVENT_BUS       = "default"
        REDRESS_QUEUE_URL       = aws_sqs_queue.findings.url
        REDRESS_DEAD_LETTER_URL = aws_sqs_queue.dead["findings"].url
      },
      var.external_id == null ? {} : { REDRESS_EXTERNAL_ID = var.external_id },
      var.cognito == null ? {} : {
        REDRESS_ACTIVITY_TABLE          = "${var.name}-activity"
        REDRESS_USER_UPDATES_PER_SECOND = tostring(var.cognito.user_updates_per_second)
      },
      var.environment,
    )
  }

  logging_config {
    log_format            = "JSON"
    application_log_level = local.log_level
    system_log_level      = "INFO"
    log_group             = aws_cloudwatch_log_group.dispatcher.name
  }

  tracing_config {
    mode = "Active"
  }

  # The first event finds its permissions in place.
  depends_on = [aws_iam_role_policy.dispatcher]
}

resource "aws_lambda_event_source_mapping" "findings" {
  function_name           = aws_lambda_function.dispatcher.arn
  event_source_arn        = aws_sqs_queue.findings.arn
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags

  scaling_config {
    maximum_concurrency = var.concurrency.maximum
  }
}

# What Lambda itself gives up on.
resource "aws_lambda_function_event_invoke_config" "dispatcher" {
  function_name                = aws_lambda_function.dispatcher.function_name
  maximum_retry_attempts       = 2
  maximum_event_age_in_seconds = 3600

  destination_config {
    on_failure {
      destination = aws_sqs_queue.dead["async"].arn
    }
  }
}

# Runs that were cut off are settled each hour, should no event of their resource come by.

resource "aws_cloudwatch_event_rule" "recover" {
  name                = "${var.name}-recover"
  description         = "Has redress settle runs that were cut off"
  schedule_expression = "rate(1 hour)"
  tags                = var.tags
}

resource "aws_cloudwatch_event_target" "recover" {
  rule      = aws_cloudwatch_event_rule.recover.name
  target_id = "dispatcher"
  arn       = aws_lambda_function.dispatcher.arn
  input     = jsonencode({ redress = "recover" })

  dead_letter_config {
    arn = aws_sqs_queue.dead["events"].arn
  }
}

resource "aws_lambda_permission" "recover" {
  statement_id  = "recover"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.dispatcher.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.recover.arn
}
