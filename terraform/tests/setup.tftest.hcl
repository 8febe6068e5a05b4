# The root module with its defaults, with everything switched on, and with rules of every shape.

mock_provider "archive" {
  mock_data "archive_file" {
    defaults = {
      output_path         = "tests/packages/x86_64/dispatcher.zip"
      output_base64sha256 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    }
  }
}

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-west-1", name = "eu-west-1" }
  }
  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-west-1:123456789012:queue", url = "https://sqs.eu-west-1.amazonaws.com/123456789012/queue" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/role" }
  }
  mock_resource "aws_lambda_function" {
    defaults = { arn = "arn:aws:lambda:eu-west-1:123456789012:function:function" }
  }
  mock_resource "aws_lambda_layer_version" {
    defaults = { arn = "arn:aws:lambda:eu-west-1:123456789012:layer:layer:1" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-west-1:123456789012:topic" }
  }
  mock_resource "aws_dynamodb_table" {
    defaults = { arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/table", stream_arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/table/stream/2026" }
  }
  mock_resource "aws_cloudwatch_event_rule" {
    defaults = { arn = "arn:aws:events:eu-west-1:123456789012:rule/rule" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::bucket" }
  }
  mock_resource "aws_kinesis_firehose_delivery_stream" {
    defaults = { arn = "arn:aws:firehose:eu-west-1:123456789012:deliverystream/stream" }
  }
  mock_resource "aws_securityhub_action_target" {
    defaults = { arn = "arn:aws:securityhub:eu-west-1:123456789012:action/custom/Action" }
  }
}

variables {
  packages = "tests/packages"
}

run "defaults" {
  assert {
    condition     = aws_lambda_function.dispatcher.environment[0].variables.REDRESS_CEILING == "plan"
    error_message = "nothing may be changed before somebody says so"
  }
  assert {
    condition     = length(aws_cloudwatch_event_rule.findings) == 2 && alltrue([for rule in aws_cloudwatch_event_rule.findings : strcontains(rule.event_pattern, "\"NEW\"")])
    error_message = "the default rules share a pattern, and redress's own findings have one"
  }
  assert {
    condition     = length(aws_kinesis_firehose_delivery_stream.archive) + length(aws_sns_topic.outcomes) + length(aws_dynamodb_table.activity) == 0
    error_message = "what nobody asked for is not there"
  }
  assert {
    condition     = output.rules_hash == substr(sha256("${filesha256("../rules/default.yaml")}\n"), 0, 16)
    error_message = "the hash is over the bytes of the files"
  }
}

run "everything" {
  variables {
    ceiling         = "apply"
    member_accounts = ["111122223333", "123456789012"]
    external_id     = "an-id"
    concurrency     = { maximum = 20, reserved = 30 }
    kms_key_arn     = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    notify          = { alarms = ["a@example.com"], outcomes = ["b@example.com"] }
    archive         = { bucket = "redress-archive-123456789012" }
    cognito         = { user_pools = ["eu-west-1_AbCdEfGhI"] }
    finding_formats = ["ASFF", "OCSF"]
    operators       = ["arn:aws:iam::123456789012:role/operator"]
    rules           = "tests/rules"
  }
  assert {
    condition     = aws_lambda_function.dispatcher.environment[0].variables.REDRESS_MEMBER_ACCOUNTS == "111122223333,123456789012"
    error_message = "the own account is served too, once"
  }
  assert {
    condition     = length(jsondecode(aws_iam_role_policy.dispatcher.policy).Statement) > 10
    error_message = "the policy has all its parts"
  }
  # by-tag and either: ASFF and OCSF; own-finding; the rest: ASFF and OCSF. What is off has none.
  assert {
    condition     = length(aws_cloudwatch_event_rule.findings) == 7 && !anytrue([for rule in aws_cloudwatch_event_rule.findings : strcontains(rule.event_pattern, "\"S3.1\"")])
    error_message = "there is a pattern for each rule with a `when`, and none for what is off: ${join(", ", keys(aws_cloudwatch_event_rule.findings))}"
  }
  assert {
    condition     = output.rules_hash == substr(sha256("${filesha256("tests/rules/rules.yaml")}\n${filesha256("tests/rules/exemptions.yaml")}\n"), 0, 16)
    error_message = "exemptions count, tests don't"
  }
  assert {
    condition     = contains(keys(aws_securityhub_action_target.redress), "TurnOnS3Versioning")
    error_message = "a rule's own custom action is made"
  }
  assert {
    condition     = contains(keys(aws_cloudwatch_metric_alarm.all), "lost-sign-ins-eu-west-1_AbCdEfGhI")
    error_message = "lost sign-ins ring"
  }
}
