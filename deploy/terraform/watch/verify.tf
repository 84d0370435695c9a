# Two functions of ../../consumer: one behind the stream, one on a schedule over what was delivered.

locals {
  functions = {
    stream = { handler = "stream_lambda.handler", timeout = 60 }
    verify = { handler = "verify_lambda.handler", timeout = 900 }
  }
}

data "archive_file" "code" {
  type        = "zip"
  source_dir  = var.consumer
  output_path = "${path.root}/.terraform/weir-consumer.zip"
  excludes    = ["consume.py"]
}

resource "aws_cloudwatch_log_group" "each" {
  for_each          = local.functions
  name              = "/aws/lambda/${var.name}-${each.key}"
  retention_in_days = 90
}

resource "aws_iam_role" "each" {
  for_each           = local.functions
  name               = "${var.name}-${each.key}"
  assume_role_policy = templatefile("${var.policies}/assume.json", { service = "lambda.amazonaws.com" })
}

resource "aws_iam_role_policy" "tell" {
  for_each = local.functions
  name     = "tell"
  role     = aws_iam_role.each[each.key].id
  policy   = templatefile("${var.policies}/stream_lambda.json", { bus_arn = local.bus_arn, log_group_arn = aws_cloudwatch_log_group.each[each.key].arn })
}

resource "aws_iam_role_policy" "read_stream" {
  name   = "read-stream"
  role   = aws_iam_role.each["stream"].id
  policy = templatefile("${var.policies}/consumer.json", { stream_arn = var.stream_arn, key_arn = var.key_arn })
}

resource "aws_iam_role_policy" "read_evidence" {
  name = "read-evidence"
  role = aws_iam_role.each["verify"].id
  policy = templatefile("${var.policies}/verifier.json", {
    evidence_arn = "arn:${local.partition}:s3:::${var.evidence_bucket}"
    key_arn      = var.key_arn
  })
}

resource "aws_iam_role_policy" "remember" {
  name = "remember"
  role = aws_iam_role.each["verify"].id
  policy = templatefile("${var.policies}/verify_state.json", {
    tables_arn = "arn:${local.partition}:s3:::${var.tables_bucket}"
    key_arn    = var.key_arn
  })
}

resource "aws_lambda_function" "each" {
  for_each                       = local.functions
  function_name                  = "${var.name}-${each.key}"
  role                           = aws_iam_role.each[each.key].arn
  runtime                        = "python3.13"
  handler                        = each.value.handler
  timeout                        = each.value.timeout
  memory_size                    = 1024
  filename                       = data.archive_file.code.output_path
  source_code_hash               = data.archive_file.code.output_base64sha256
  reserved_concurrent_executions = each.key == "verify" ? 1 : -1

  environment {
    variables = { EVIDENCE_BUCKET = var.evidence_bucket, STATE_BUCKET = var.tables_bucket }
  }
}

resource "aws_lambda_event_source_mapping" "stream" {
  event_source_arn                   = var.stream_arn
  function_name                      = aws_lambda_function.each["stream"].arn
  starting_position                  = "TRIM_HORIZON"
  batch_size                         = 1000
  maximum_batching_window_in_seconds = 10
  function_response_types            = ["ReportBatchItemFailures"]
}

resource "aws_cloudwatch_event_rule" "hourly" {
  name                = "${var.name}-verify"
  schedule_expression = "rate(1 hour)"
}

resource "aws_cloudwatch_event_target" "hourly" {
  rule = aws_cloudwatch_event_rule.hourly.name
  arn  = aws_lambda_function.each["verify"].arn
}

resource "aws_lambda_permission" "hourly" {
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.each["verify"].function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.hourly.arn
}
