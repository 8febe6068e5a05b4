# What is wrong with the deployment is told to the topic NAME-alarms; docs/operate.md says of each alarm what it means.

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.kms_key_arn
  tags              = var.tags
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OwnAlarmsOnly"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.alarms.arn
      Condition = { ArnLike = { "aws:SourceArn" = "arn:${local.partition}:cloudwatch:${local.region}:${local.account}:alarm:${var.name}-*" } }
    }]
  })
}

resource "aws_sns_topic_subscription" "alarms" {
  for_each = toset(var.notify.alarms)

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}

locals {
  functions = merge(
    { dispatcher = aws_lambda_function.dispatcher.function_name },
    var.cognito == null ? {} : { sign-in = "${var.name}-sign-in" },
  )

  # What it watches, what it is called there, whose it is, and from which value on it is an alarm.
  alarms = merge(
    {
      for name, queue in aws_sqs_queue.dead : "${name}-dead" => {
        about      = "Messages in a dead-letter queue: what could not be handled waits there for 14 days."
        namespace  = "AWS/SQS"
        metric     = "ApproximateNumberOfMessagesVisible"
        dimensions = { QueueName = queue.name }
        statistic  = "Maximum"
        above      = 0
        periods    = 1
      }
    },
    {
      for name, function in local.functions : "${name}-errors" => {
        about      = "The function ended with an error or ran out of time."
        namespace  = "AWS/Lambda"
        metric     = "Errors"
        dimensions = { FunctionName = function }
        statistic  = "Sum"
        above      = 0
        periods    = 1
      }
    },
    {
      for name, function in local.functions : "${name}-throttles" => {
        about      = "The function was not let run: the account's concurrency is used up."
        namespace  = "AWS/Lambda"
        metric     = "Throttles"
        dimensions = { FunctionName = function }
        statistic  = "Sum"
        above      = 0
        periods    = 3
      }
    },
    {
      for stage, about in {
        denied    = "A role may not do what a fix takes: nothing was changed."
        failed    = "A change could not be made, or could not be seen made."
        disagrees = "Security Hub finds what redress has fixed and sees fixed."
        } : "outcomes-${stage}" => {
        about      = about
        namespace  = "redress"
        metric     = "outcomes"
        dimensions = { stage = stage }
        statistic  = "Sum"
        above      = 0
        periods    = 1
      }
    },
    {
      for alarm, about in {
        cap_reached = "A rule or an account has had all the automatic changes of its hour or day."
        refixed     = "A resource was fixed three times in a day: somebody puts it back. It is held."
        } : replace(alarm, "_", "-") => {
        about      = about
        namespace  = "redress"
        metric     = "alarms"
        dimensions = { alarm = alarm }
        statistic  = "Sum"
        above      = 0
        periods    = 1
      }
    },
    {
      waiting = {
        about      = "The oldest event has waited for more than an hour."
        namespace  = "AWS/SQS"
        metric     = "ApproximateAgeOfOldestMessage"
        dimensions = { QueueName = aws_sqs_queue.findings.name }
        statistic  = "Maximum"
        above      = 3600
        periods    = 3
      }
    },
    {
      for stream in aws_kinesis_firehose_delivery_stream.archive : "archive-late" => {
        about      = "A record has waited for more than an hour to be written into the archive: after a day, Firehose drops it."
        namespace  = "AWS/Firehose"
        metric     = "DeliveryToS3.DataFreshness"
        dimensions = { DeliveryStreamName = stream.name }
        statistic  = "Maximum"
        above      = 3600
        periods    = 1
      }
    },
    {
      # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CloudWatch-Logs-Monitoring-CloudWatch-Metrics.html
      for filter in aws_cloudwatch_log_subscription_filter.archive : "archive-errors" => {
        about      = "CloudWatch Logs could not hand records to Firehose: what is denied is not tried again, and the archive lacks it."
        namespace  = "AWS/Logs"
        metric     = "DeliveryErrors"
        dimensions = { LogGroupName = filter.log_group_name, DestinationType = "Firehose", FilterName = filter.name }
        statistic  = "Sum"
        above      = 0
        periods    = 1
      }
    },
    {
      for filter in aws_cloudwatch_log_subscription_filter.archive : "archive-throttles" => {
        about      = "Firehose takes no more from CloudWatch Logs: after a day, what waits is dropped, and the archive lacks it."
        namespace  = "AWS/Logs"
        metric     = "DeliveryThrottling"
        dimensions = { LogGroupName = filter.log_group_name, DestinationType = "Firehose", FilterName = filter.name }
        statistic  = "Sum"
        above      = 0
        periods    = 3
      }
    },
    {
      for pool in local.pools : "lost-sign-ins-${pool}" => {
        about      = "Sign-ins were not recorded: nobody is disabled whose time rests on that day until `redress cognito reconcile ${pool} --deployment ${var.name} --log-group /aws/lambda/${var.name}-sign-in`."
        namespace  = "redress"
        metric     = "LostSignIns"
        dimensions = { UserPool = pool }
        statistic  = "Sum"
        above      = 0
        periods    = 1
      }
    },
    {
      for metric, about in {
        UnreadableSignIns = "Events of Cognito's triggers could not be read."
        } : "unreadable-sign-ins" => {
        about      = about
        namespace  = "redress"
        metric     = metric
        dimensions = {}
        statistic  = "Sum"
        above      = 0
        periods    = 1
      } if var.cognito != null
    },
    {
      for function in values(local.functions) : "stream-behind" => {
        about      = "Expiries of the activity table have waited for more than six hours: nobody is disabled meanwhile, and after a day they are lost to the stream."
        namespace  = "AWS/Lambda"
        metric     = "IteratorAge"
        dimensions = { FunctionName = function }
        statistic  = "Maximum"
        above      = 21600000
        periods    = 1
      } if var.cognito != null && function == aws_lambda_function.dispatcher.function_name
    },
  )
}

resource "aws_cloudwatch_metric_alarm" "all" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.about} docs/operate.md says what to do."
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  period              = 300
  evaluation_periods  = each.value.periods
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = var.tags
}

# Outcomes, for people: readable as an e-mail and by Amazon Q Developer in chat applications (AWS Chatbot), whose custom
# notifications these are: https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html

locals {
  outcome_topics = length(var.notify.outcomes) > 0 ? ["outcomes"] : []
}

resource "aws_sns_topic" "outcomes" {
  count = length(local.outcome_topics)

  name              = "${var.name}-outcomes"
  kms_master_key_id = var.kms_key_arn
  tags              = var.tags
}

resource "aws_sns_topic_policy" "outcomes" {
  count = length(local.outcome_topics)

  arn = aws_sns_topic.outcomes[0].arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OwnRuleOnly"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.outcomes[0].arn
      Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.outcomes[0].arn } }
    }]
  })
}

resource "aws_sns_topic_subscription" "outcomes" {
  for_each = toset(var.notify.outcomes)

  topic_arn = aws_sns_topic.outcomes[0].arn
  protocol  = "email"
  endpoint  = each.key
}

resource "aws_cloudwatch_event_rule" "outcomes" {
  count = length(local.outcome_topics)

  name        = "${var.name}-outcomes"
  description = "What redress has changed, undone, refused, or failed at"
  event_pattern = jsonencode({
    source        = ["redress"]
    "detail-type" = ["Remediation Activity"]
    detail = {
      unmapped = { outcome = ["verified", "undone", "refused", "denied", "failed", "disagrees"] }
    }
  })
  tags = var.tags
}

resource "aws_cloudwatch_event_target" "outcomes" {
  count = length(local.outcome_topics)

  rule      = aws_cloudwatch_event_rule.outcomes[0].name
  target_id = "topic"
  arn       = aws_sns_topic.outcomes[0].arn

  # Only what redress itself has made or proven is put into the text: EventBridge does not escape it.
  input_transformer {
    input_paths = {
      outcome    = "$.detail.unmapped.outcome"
      control    = "$.detail.unmapped.control"
      remediator = "$.detail.unmapped.remediator"
      resource   = "$.detail.unmapped.resource_key"
      message    = "$.detail.message"
      run        = "$.detail.command_uid"
      account    = "$.detail.cloud.account.uid"
      region     = "$.detail.cloud.region"
      time       = "$.detail.time_dt"
    }
    input_template = <<-EOT
      {"version":"1.0","source":"custom","id":"<run>","content":{"textType":"client-markdown","title":"redress: <outcome> (<control>, account <account>, <region>)","description":"<message>\n<resource>\nby <remediator>, <time>\nredress history --deployment ${var.name} --run <run>"},"metadata":{"threadId":"<run>","summary":"<message>"}}
    EOT
  }

  dead_letter_config {
    arn = aws_sqs_queue.dead["events"].arn
  }
}

# Dashboard

locals {
  charts = [
    { title = "Outcomes by stage", metrics = [[{ expression = "SEARCH('{redress,stage} MetricName=\"outcomes\"', 'Sum', 3600)", id = "a" }]] },
    { title = "Outcomes by control", metrics = [[{ expression = "SEARCH('{redress,control,mode,stage} MetricName=\"outcomes\" stage=\"verified\"', 'Sum', 3600)", id = "b" }]] },
    { title = "Given back to the queue, by reason", metrics = [[{ expression = "SEARCH('{redress,error} MetricName=\"retries\"', 'Sum', 3600)", id = "c" }]] },
    { title = "Not wanted, and as before", metrics = [["redress", "unwanted"], [{ expression = "SEARCH('{redress,stage} MetricName=\"repeats\"', 'Sum', 3600)", id = "d" }]] },
    { title = "Queue: waiting, and age of the oldest (s)", metrics = [["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.findings.name], ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", aws_sqs_queue.findings.name, { yAxis = "right" }]] },
    { title = "Dead letters", metrics = [for queue in values(aws_sqs_queue.dead) : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue.name]] },
    { title = "Dispatcher: runs, errors, throttles", metrics = [for metric in ["Invocations", "Errors", "Throttles"] : ["AWS/Lambda", metric, "FunctionName", aws_lambda_function.dispatcher.function_name]] },
    { title = "Dispatcher: duration (ms)", metrics = [["AWS/Lambda", "Duration", "FunctionName", aws_lambda_function.dispatcher.function_name]] },
  ]
}

resource "aws_cloudwatch_dashboard" "redress" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [
      for index, chart in local.charts : {
        type   = "metric"
        x      = 12 * (index % 2)
        y      = 6 * floor(index / 2)
        width  = 12
        height = 6
        properties = {
          title   = chart.title
          metrics = chart.metrics
          region  = local.region
          stat    = startswith(chart.title, "Queue") || startswith(chart.title, "Dead") ? "Maximum" : "Sum"
          period  = 3600
          view    = "timeSeries"
        }
      }
    ]
  })
}
