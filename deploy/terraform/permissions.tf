# What each component may do. `python -m deploy.check --only terraform` compares the actions
# with the boto3 calls in its code, so a new call needs a new line here.
locals {
  bucket = aws_s3_bucket.store.arn
  input  = aws_kinesis_stream.stream["in"].arn
  output = aws_kinesis_stream.stream["out"].arn

  # Without it S3 answers 403 for an object that is not there, and "no champion yet" looks like
  # "no access". No condition on the prefix: GetObject carries none, so that it would not apply.
  list_bucket = { sid = "ListBucket", actions = ["s3:ListBucket"], resources = [local.bucket] }
  read_champions = {
    sid       = "ReadChampions"
    actions   = ["s3:GetObject"]
    resources = ["${local.bucket}/champions/*"]
  }
  write_dead_letters = {
    sid       = "WriteDeadLetters"
    actions   = ["s3:PutObject"]
    resources = ["${local.bucket}/dead-letters/*"]
  }
  write_results = { sid = "WriteResults", actions = ["kinesis:PutRecords"], resources = [local.output] }
  read_secret = [
    for secret in aws_secretsmanager_secret.mongodb :
    { sid = "ReadMongodbUri", actions = ["secretsmanager:GetSecretValue"], resources = [secret.arn] }
  ]
  use_key = [
    for key in compact([var.kms_key_arn]) :
    { sid = "UseKey", actions = ["kms:Decrypt", "kms:GenerateDataKey"], resources = [key] }
  ]

  permissions = {
    http = [local.list_bucket, local.read_champions]

    worker = [
      local.list_bucket,
      local.read_champions,
      local.write_dead_letters,
      local.write_results,
      {
        sid = "ReadCustomers"
        actions = [
          "kinesis:DescribeStreamSummary",
          "kinesis:GetRecords",
          "kinesis:GetShardIterator",
          "kinesis:ListShards",
        ]
        resources = [local.input]
      },
      {
        sid = "HoldLeases"
        actions = [
          "dynamodb:DeleteItem",
          "dynamodb:DescribeTable",
          "dynamodb:PutItem",
          "dynamodb:Query",
          "dynamodb:UpdateItem",
        ]
        resources = [aws_dynamodb_table.leases.arn]
      },
    ]

    lambda = [local.list_bucket, local.read_champions, local.write_dead_letters, local.write_results]

    exporter = [
      local.list_bucket,
      local.read_champions,
      {
        sid       = "ReadReferencesAndNewestReports"
        actions   = ["s3:GetObject"]
        resources = ["${local.bucket}/reference/*", "${local.bucket}/reports/newest.json"]
      },
    ]

    reports = [
      local.list_bucket,
      {
        sid       = "ReadReports"
        actions   = ["s3:GetObject"]
        resources = ["${local.bucket}/reports/*"]
      },
    ]

    # Dagster's servers and runs. Customers and labels are others' and only read.
    dagster = [
      local.list_bucket,
      {
        sid       = "ReadObjects"
        actions   = ["s3:GetObject"]
        resources = ["${local.bucket}/*"]
      },
      {
        sid     = "WriteObjects"
        actions = ["s3:AbortMultipartUpload", "s3:PutObject"]
        resources = [
          for folder in ["champions", "dagster", "mlflow", "predictions", "quarantine", "raw", "reference", "reports", "truth"] :
          "${local.bucket}/${folder}/*"
        ]
      },
      {
        sid       = "DropTruthAndLogs"
        actions   = ["s3:DeleteObject"]
        resources = ["${local.bucket}/truth/*", "${local.bucket}/dagster/logs/*"]
      },
    ]
  }
}

data "aws_iam_policy_document" "component" {
  for_each = local.permissions

  dynamic "statement" {
    for_each = concat(
      each.value,
      each.key == "reports" ? [] : local.read_secret,
      local.use_key,
    )

    content {
      sid       = statement.value.sid
      actions   = statement.value.actions
      resources = statement.value.resources
    }
  }
}

resource "aws_iam_policy" "component" {
  for_each = local.permissions

  name        = "${var.project}-${each.key}"
  description = "What ${each.key} does in AWS, and no more"
  policy      = data.aws_iam_policy_document.component[each.key].json
}
