# What the switches turn on, and which values are refused.
mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::123456789012:policy/mock" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
  }
  mock_resource "aws_kinesis_stream" {
    defaults = { arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/mock" }
  }
  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-west-1:123456789012:mock" }
  }
  mock_resource "aws_lambda_function" {
    defaults = { arn = "arn:aws:lambda:eu-west-1:123456789012:function:mock" }
  }
  mock_resource "aws_secretsmanager_secret" {
    defaults = { arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:mock" }
  }
  mock_resource "aws_iam_openid_connect_provider" {
    defaults = { arn = "arn:aws:iam::123456789012:oidc-provider/github" }
  }
}

variables {
  bucket = "churn-test"
}

run "function" {
  variables {
    lambda_enabled   = true
    lambda_image_uri = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/churn-lambda:1.0.0"
    run_id           = "0123456789abcdef0123456789abcdef"
  }

  assert {
    condition     = one([for m in aws_lambda_event_source_mapping.stream : m.function_response_types]) == toset(["ReportBatchItemFailures"])
    error_message = "One bad record would repeat its whole batch."
  }

  assert {
    condition     = one([for m in aws_lambda_event_source_mapping.stream : m.starting_position]) == "TRIM_HORIZON"
    error_message = "What waits in the stream would never be answered."
  }

  assert {
    condition     = one([for m in aws_lambda_event_source_mapping.stream : m.destination_config[0].on_failure[0].destination_arn]) == one([for q in aws_sqs_queue.given_up : q.arn])
    error_message = "What is given up is lost."
  }

  assert {
    condition     = one([for f in aws_lambda_function.stream : f.environment[0].variables["RUN_ID"]]) == var.run_id
    error_message = "The function serves another run."
  }

  assert {
    condition     = startswith(one([for f in aws_lambda_function.stream : f.environment[0].variables["MONGODB_URI"]]), "arn:")
    error_message = "The function's configuration shows a password."
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.lambda_errors) == 1 && length(aws_cloudwatch_metric_alarm.given_up) == 1
    error_message = "Nobody hears of a function that fails."
  }
}

run "long_retention" {
  variables {
    lambda_enabled   = true
    lambda_image_uri = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/churn-lambda:1.0.0"
    retention_hours  = 8760
  }

  assert {
    condition     = one([for m in aws_lambda_event_source_mapping.stream : m.maximum_record_age_in_seconds]) == 604800
    error_message = "Lambda refuses a record age above a week."
  }
}

run "pods" {
  variables {
    eks_oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.example/id/A1"
  }

  assert {
    condition     = toset(keys(aws_iam_role.pod)) == toset(["dagster", "exporter", "http", "reports", "worker"])
    error_message = "Not one role for each service account."
  }

  assert {
    condition = contains(
      flatten([for c in data.aws_iam_policy_document.pod_trust["http"].statement[0].condition : c.values]),
      "system:serviceaccount:churn:churn-http",
    )
    error_message = "Another service account may assume the role."
  }

  assert {
    condition     = alltrue([for c in data.aws_iam_policy_document.pod_trust["http"].statement[0].condition : c.test == "StringEquals"])
    error_message = "The trust takes patterns."
  }
}

run "github" {
  variables {
    github_repository = "owner/name"
  }

  assert {
    condition = alltrue(flatten([
      for c in data.aws_iam_policy_document.github_trust["push"].statement[0].condition :
      [for v in c.values : startswith(v, "repo:owner/name:ref:refs/")] if endswith(c.variable, ":sub")
    ]))
    error_message = "Another repository may push images."
  }

  assert {
    condition = contains(
      flatten([for c in data.aws_iam_policy_document.github_trust["pull"].statement[0].condition : c.values]),
      "repo:owner/name:environment:vm",
    )
    error_message = "The deployment to the machine cannot log it in."
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.github["pull"].policy, "Put") && !strcontains(join(" ", flatten([for s in data.aws_iam_policy_document.pull.statement : s.actions])), "Put")
    error_message = "The machine is handed a login that pushes."
  }
}

run "account_with_github_already" {
  variables {
    github_repository        = "owner/name"
    github_oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0
    error_message = "An account holds only one provider for GitHub."
  }
}

run "own_key" {
  variables {
    kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/mock"
  }

  assert {
    condition = alltrue([
      for name, document in data.aws_iam_policy_document.component :
      contains(flatten([for s in document.statement : s.resources]), var.kms_key_arn)
    ])
    error_message = "A component cannot read what its key encrypts."
  }
}

run "refuses_a_function_without_image" {
  command         = plan
  expect_failures = [var.lambda_image_uri]
  variables {
    lambda_enabled = true
  }
}

run "refuses_latest" {
  command         = plan
  expect_failures = [var.lambda_image_uri]
  variables {
    lambda_enabled   = true
    lambda_image_uri = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/churn-lambda:latest"
  }
}

run "refuses_pull_requests_and_any_ref" {
  command         = plan
  expect_failures = [var.github_subjects]
  variables {
    github_repository = "owner/name"
    github_subjects   = ["*", "pull_request"]
  }
}

run "refuses_any_repository" {
  command         = plan
  expect_failures = [var.github_repository]
  variables {
    github_repository = "owner/*"
  }
}

run "refuses_values_that_aws_would" {
  command         = plan
  expect_failures = [var.bucket, var.region, var.shards, var.retention_hours, var.log_days, var.run_id, var.lambda_security_group_ids]
  variables {
    bucket            = "Dots.and.Capitals"
    region            = "Ireland"
    shards            = 0
    retention_hours   = 1
    log_days          = 2
    run_id            = "7ffc2"
    lambda_subnet_ids = ["subnet-1"]
  }
}
