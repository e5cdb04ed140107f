# What comes without asking: no reader of the stream but the workers, nothing that a
# destroy would take along, nothing public.
mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::churn-test" }
  }
  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::123456789012:policy/mock" }
  }
}

variables {
  bucket = "churn-test"
}

run "defaults" {
  assert {
    condition     = length(aws_lambda_function.stream) + length(aws_lambda_event_source_mapping.stream) == 0
    error_message = "The function would answer what the workers answer."
  }

  assert {
    condition     = !aws_s3_bucket.store.force_destroy && alltrue([for r in aws_ecr_repository.image : !r.force_delete])
    error_message = "A destroy would take objects or images along."
  }

  assert {
    condition     = length(aws_iam_role.pod) + length(aws_iam_role.vm) + length(aws_iam_role.github) == 0
    error_message = "Somebody may assume a role that was not asked for."
  }

  assert {
    condition     = alltrue([for r in aws_ecr_repository.image : r.image_tag_mutability == "IMMUTABLE" && r.image_scanning_configuration[0].scan_on_push])
    error_message = "A tag can be moved to another image, or an image goes unscanned."
  }

  assert {
    condition     = toset(keys(aws_ecr_repository.image)) == toset(["dagster", "exporter", "http", "lambda", "worker"])
    error_message = "There is not one repository for each image."
  }
}

run "storage" {
  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.store.block_public_acls,
      aws_s3_bucket_public_access_block.store.block_public_policy,
      aws_s3_bucket_public_access_block.store.ignore_public_acls,
      aws_s3_bucket_public_access_block.store.restrict_public_buckets,
    ])
    error_message = "The bucket can be made public."
  }

  assert {
    condition     = aws_s3_bucket_versioning.store.versioning_configuration[0].status == "Enabled"
    error_message = "What is overwritten is lost."
  }

  assert {
    condition = alltrue([
      for statement in data.aws_iam_policy_document.tls_only.statement :
      statement.effect == "Deny" && one(statement.condition).variable == "aws:SecureTransport" && one(statement.condition).values == tolist(["false"])
    ])
    error_message = "The bucket can be read without TLS, or by anybody."
  }

  assert {
    condition     = [aws_dynamodb_table.leases.hash_key, aws_dynamodb_table.leases.range_key] == ["stream_name", "shard_id"]
    error_message = "Not the keys of stream_worker/leases.py."
  }

  assert {
    condition     = alltrue([for stream in aws_kinesis_stream.stream : stream.encryption_type == "KMS"])
    error_message = "A stream keeps customers in plain."
  }
}

run "least_privilege" {
  assert {
    condition = alltrue(flatten([
      for document in merge(data.aws_iam_policy_document.component, data.aws_iam_policy_document.people) : [
        for statement in document.statement : [for action in statement.actions : !strcontains(action, "*")]
      ]
    ]))
    error_message = "A policy has a wildcard among its actions."
  }

  assert {
    condition = alltrue(flatten([
      for document in merge(data.aws_iam_policy_document.component, data.aws_iam_policy_document.people) : [
        for statement in document.statement : [for resource in statement.resources : resource != "*"]
      ]
    ]))
    error_message = "A policy is for every resource of the account."
  }

  assert {
    condition = alltrue(flatten([
      for name in ["http", "worker", "lambda", "exporter", "reports"] : [
        for statement in data.aws_iam_policy_document.component[name].statement : [
          for resource in statement.resources : !contains(statement.actions, "s3:PutObject") || endswith(resource, "/dead-letters/*")
        ]
      ]
    ]))
    error_message = "A server may write objects other than dead letters: a champion, for example."
  }

  assert {
    condition = alltrue(flatten([
      for statement in data.aws_iam_policy_document.component["dagster"].statement : [
        for resource in statement.resources : !endswith(resource, "/ID1/*") && !endswith(resource, "/labels/*")
      ]
    ]))
    error_message = "Training may change the customers and outcomes that it learns from."
  }

  assert {
    condition = alltrue([
      for statement in data.aws_iam_policy_document.push.statement :
      tolist(statement.resources) != tolist(["*"]) || tolist(statement.actions) == tolist(["ecr:GetAuthorizationToken"])
    ])
    error_message = "Images can be pushed to repositories that are not ours."
  }
}
