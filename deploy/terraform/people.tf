# For people and other systems, to attach to whom it fits; nothing here is attached to anybody.
locals {
  put_customers = { sid = "PutCustomers", actions = ["kinesis:PutRecord", "kinesis:PutRecords"], resources = [local.input] }

  people = {
    # Who asks for predictions by the stream.
    producer = [
      local.put_customers,
      {
        sid       = "ReadResults"
        actions   = ["kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"]
        resources = [local.output]
      },
    ]

    # Who brings customer files and outcomes, and replays dead letters.
    operator = [
      local.list_bucket,
      {
        sid       = "BringFiles"
        actions   = ["s3:GetObject", "s3:PutObject"]
        resources = ["${local.bucket}/ID1/*", "${local.bucket}/labels/*"]
      },
      {
        sid       = "ReadQuarantine"
        actions   = ["s3:GetObject"]
        resources = ["${local.bucket}/quarantine/*"]
      },
      {
        sid       = "ReplayDeadLetters"
        actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        resources = ["${local.bucket}/dead-letters/*"]
      },
      local.read_champions,
      local.write_results,
    ]
  }
}

data "aws_iam_policy_document" "people" {
  for_each = local.people

  dynamic "statement" {
    for_each = concat(each.value, each.key == "operator" ? local.read_secret : [], local.use_key)

    content {
      sid       = statement.value.sid
      actions   = statement.value.actions
      resources = statement.value.resources
    }
  }
}

resource "aws_iam_policy" "people" {
  for_each = local.people

  name        = "${var.project}-${each.key}"
  description = "For people and systems that work with the platform"
  policy      = data.aws_iam_policy_document.people[each.key].json
}
