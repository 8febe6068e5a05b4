output "dispatcher_role_arn" {
  description = "The dispatcher's own role: what the roles of modules/member trust."
  value       = aws_iam_role.dispatcher.arn
}

output "dispatcher" {
  description = "Name of the dispatcher's function."
  value       = aws_lambda_function.dispatcher.function_name
}

output "sign_in_recorder_arn" {
  description = "ARN of the sign-in recorder, for `redress cognito attach POOL --recorder ARN`; null without `cognito`."
  value       = one(aws_lambda_function.recorder[*].arn)
}

output "remediators" {
  description = "The remediators that the rules name: what the roles of modules/member need the actions of."
  value       = local.remediators
}

output "rules_hash" {
  description = "What `redress rules check` prints of the same files, and every record holds."
  value       = local.rules_hash
}

output "queue_url" {
  description = "The queue between EventBridge and the dispatcher."
  value       = aws_sqs_queue.findings.url
}

output "dead_letter_queues" {
  description = "URLs of the dead-letter queues, by what they are for."
  value       = { for name, queue in aws_sqs_queue.dead : name => queue.url }
}

output "alarm_topic_arn" {
  description = "The topic that alarms are told to."
  value       = aws_sns_topic.alarms.arn
}

output "outcome_topic_arn" {
  description = "The topic that outcomes are told to; null without `notify.outcomes`."
  value       = one(aws_sns_topic.outcomes[*].arn)
}

output "dashboard" {
  description = "Name of the CloudWatch dashboard."
  value       = aws_cloudwatch_dashboard.redress.dashboard_name
}

output "kms_key_statements" {
  description = "Statements that the policy of a key of your own needs (`kms_key_arn`), as JSON: the AWS services that put encrypted messages and logs."
  value = jsonencode([
    # EventBridge's messages to an encrypted topic bear no such condition; the queues' and the topic's own policies say
    # whose rules they take. https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
    {
      Sid       = "RedressEvents"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = "*"
    },
    {
      Sid       = "RedressAlarms"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = "*"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    },
    {
      Sid       = "RedressLogs"
      Effect    = "Allow"
      Principal = { Service = "logs.${local.region}.amazonaws.com" }
      Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
      Resource  = "*"
      Condition = { ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/aws/lambda/${var.name}-*" } }
    },
  ])
}
