# Who is told, and of what: readers that lag, puts that fail, silence, and what verification found.

resource "aws_sns_topic" "alarms" {
  name              = var.alarms_topic
  kms_master_key_id = var.key_arn
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = templatefile("${var.policies}/topic.json", { topic_arn = aws_sns_topic.alarms.arn, account_id = local.account })
}

resource "aws_sns_topic_subscription" "email" {
  for_each  = toset(var.emails)
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

locals {
  alarms = {
    lag = {
      description = "A reader of the stream is more than an hour behind: it loses records when it is as far behind as the stream keeps them"
      metric      = "GetRecords.IteratorAgeMilliseconds"
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = 3600000
      missing     = "notBreaching"
    }
    failed_puts = {
      description = "Agents' puts fail; they try again, and the records wait on their hosts"
      metric      = "PutRecords.FailedRecords"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      missing     = "notBreaching"
    }
    throttled = {
      description = "The stream takes less than the agents put"
      metric      = "WriteProvisionedThroughputExceeded"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      missing     = "notBreaching"
    }
    silence = {
      description = "No record from any host: checkpoints come even when nothing is called"
      metric      = "IncomingRecords"
      statistic   = "Sum"
      comparison  = "LessThanThreshold"
      threshold   = 1
      missing     = "breaching"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "stream" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = "AWS/Kinesis"
  metric_name         = each.value.metric
  dimensions          = { StreamName = var.stream_name }
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  treat_missing_data  = each.value.missing
  period              = 300
  evaluation_periods  = 3
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

# A check that does not run finds nothing.
resource "aws_cloudwatch_metric_alarm" "verifier" {
  for_each            = aws_lambda_function.each
  alarm_name          = "${var.name}-${each.key}-errors"
  alarm_description   = "Verification itself fails"
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = each.value.function_name }
  statistic           = "Sum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  period              = 3600
  evaluation_periods  = 1
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_event_rule" "findings" {
  name          = "${var.name}-findings"
  description   = "What verification found"
  event_pattern = jsonencode({ source = ["weir.audit"], "detail-type" = ["Verification failed"] })
}

resource "aws_cloudwatch_event_target" "findings" {
  rule = aws_cloudwatch_event_rule.findings.name
  arn  = aws_sns_topic.alarms.arn
}

# What is found and not told is as good as not found. The alarm goes to the topic by another way than the findings.
resource "aws_cloudwatch_metric_alarm" "findings" {
  alarm_name          = "${var.name}-findings-undelivered"
  alarm_description   = "Findings of the verification do not reach the topic: read them in the functions' logs, and see its policy and its key's"
  namespace           = "AWS/Events"
  metric_name         = "FailedInvocations"
  dimensions          = { RuleName = aws_cloudwatch_event_rule.findings.name }
  statistic           = "Sum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  period              = 300
  evaluation_periods  = 1
  alarm_actions       = [aws_sns_topic.alarms.arn]
}
