# The worker's work as a function. Off unless asked for: function and worker would both answer
# every record, because the function's position is Lambda's and the worker's is in the leases.
locals {
  functions = toset(var.lambda_enabled ? ["${var.project}-stream"] : [])
  alarmed   = var.alarms ? local.functions : toset([])
}

resource "aws_cloudwatch_log_group" "lambda" {
  for_each = local.functions

  name              = "/aws/lambda/${each.key}"
  retention_in_days = var.log_days
}

# Batches that were given up: their shard and sequence numbers, not the records.
resource "aws_sqs_queue" "given_up" {
  for_each = local.functions

  name                      = "${each.key}-given-up"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn
}

data "aws_iam_policy_document" "lambda_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

# What Lambda itself does in the function's name, beside what its code does (permissions.tf).
data "aws_iam_policy_document" "lambda_service" {
  for_each = local.functions

  statement {
    sid = "ReadStream"
    actions = [
      "kinesis:DescribeStream",
      "kinesis:DescribeStreamSummary",
      "kinesis:GetRecords",
      "kinesis:GetShardIterator",
      "kinesis:ListShards",
    ]
    resources = [local.input]
  }

  statement {
    sid       = "ListStreams"
    actions   = ["kinesis:ListStreams"]
    resources = ["*"] # the action knows no resource
  }

  statement {
    sid       = "GiveUp"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.given_up[each.key].arn]
  }

  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.lambda[each.key].arn}:*"]
  }

  dynamic "statement" {
    for_each = length(var.lambda_subnet_ids) == 0 ? [] : ["vpc"]

    content {
      sid = "JoinVpc"
      actions = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
      ]
      resources = ["*"] # Lambda asks for it so: the interfaces do not exist yet
    }
  }
}

resource "aws_iam_role" "lambda" {
  for_each = local.functions

  name               = "${var.project}-lambda"
  assume_role_policy = data.aws_iam_policy_document.lambda_trust.json
}

resource "aws_iam_role_policy" "lambda_service" {
  for_each = local.functions

  name   = "lambda-service"
  role   = aws_iam_role.lambda[each.key].id
  policy = data.aws_iam_policy_document.lambda_service[each.key].json
}

resource "aws_iam_role_policy_attachment" "lambda" {
  for_each = local.functions

  role       = aws_iam_role.lambda[each.key].name
  policy_arn = aws_iam_policy.component["lambda"].arn
}

resource "aws_lambda_function" "stream" {
  for_each = local.functions

  function_name = each.key
  description   = "Answers customers of ${var.stream_in} to ${var.stream_out}"
  role          = aws_iam_role.lambda[each.key].arn
  package_type  = "Image"
  image_uri     = var.lambda_image_uri
  memory_size   = var.lambda_memory_mb
  timeout       = 60

  environment {
    variables = merge(
      {
        CHURN_BUCKET = var.bucket
        CHAMPION_URI = "s3://${var.bucket}/champions"
        STREAM_OUT   = var.stream_out
        TEST_RUN     = tostring(var.test_run)
        # The only folder that a function may write.
        CHURN_HOME = "/tmp/churn"
      },
      var.run_id == null ? {} : { RUN_ID = var.run_id },
      # A reference: the function asks for the value, so that no configuration shows it.
      var.mongodb_secret ? { MONGODB_URI = aws_secretsmanager_secret.mongodb[0].arn } : {},
    )
  }

  dynamic "vpc_config" {
    for_each = length(var.lambda_subnet_ids) == 0 ? [] : ["vpc"]

    content {
      subnet_ids         = var.lambda_subnet_ids
      security_group_ids = var.lambda_security_group_ids
    }
  }

  depends_on = [
    aws_cloudwatch_log_group.lambda,
    aws_iam_role_policy.lambda_service,
    aws_iam_role_policy_attachment.lambda,
    aws_ecr_repository_policy.lambda,
  ]
}

resource "aws_lambda_event_source_mapping" "stream" {
  for_each = local.functions

  function_name     = aws_lambda_function.stream[each.key].arn
  event_source_arn  = local.input
  starting_position = "TRIM_HORIZON" # nothing is lost at a change from the worker; see docs/cloud.md
  batch_size        = 500

  function_response_types            = ["ReportBatchItemFailures"]
  bisect_batch_on_function_error     = true
  maximum_batching_window_in_seconds = 1
  maximum_record_age_in_seconds      = min(var.retention_hours * 3600, 604800) # Lambda knows a week at most
  maximum_retry_attempts             = 100

  destination_config {
    on_failure {
      destination_arn = aws_sqs_queue.given_up[each.key].arn
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "lambda_errors" {
  for_each = local.alarmed

  alarm_name          = "${each.key}-errors"
  alarm_description   = "The function fails; Lambda calls it again until the records are too old."
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = each.key }
  statistic           = "Sum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 60
  evaluation_periods  = 5
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
}

resource "aws_cloudwatch_metric_alarm" "given_up" {
  for_each = local.alarmed

  alarm_name          = "${each.key}-given-up"
  alarm_description   = "Records were given up unanswered: docs/cloud.md says how to find them."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.given_up[each.key].name }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 60
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
}
