resource "aws_kinesis_stream" "stream" {
  for_each = { in = var.stream_in, out = var.stream_out }

  name             = each.value
  shard_count      = var.shards
  retention_period = var.retention_hours
  encryption_type  = "KMS"
  kms_key_id       = coalesce(var.kms_key_arn, "alias/aws/kinesis")

  stream_mode_details {
    stream_mode = "PROVISIONED"
  }
}

# The oldest record that was just read: right for worker and function alike.
resource "aws_cloudwatch_metric_alarm" "stream_age" {
  count = var.alarms ? 1 : 0

  alarm_name          = "${var.project}-stream-age"
  alarm_description   = "Customers wait for their answers: the readers of ${var.stream_in} are behind."
  namespace           = "AWS/Kinesis"
  metric_name         = "GetRecords.IteratorAgeMilliseconds"
  dimensions          = { StreamName = aws_kinesis_stream.stream["in"].name }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.max_stream_age_minutes * 60000
  period              = 60
  evaluation_periods  = 5
  # No reader at all reports nothing, which is the worst of delays.
  treat_missing_data = "breaching"
  alarm_actions      = var.alarm_topic_arns
  ok_actions         = var.alarm_topic_arns
}
