output "env" {
  description = "Lines for .env.cloud: terraform output -raw env"
  value = join("\n", concat(
    [
      "AWS_DEFAULT_REGION=${var.region}",
      "CHURN_BUCKET=${aws_s3_bucket.store.id}",
      "CHAMPION_URI=s3://${aws_s3_bucket.store.id}/champions",
      "STREAM_IN=${aws_kinesis_stream.stream["in"].name}",
      "STREAM_OUT=${aws_kinesis_stream.stream["out"].name}",
      "STREAM_LEASE_TABLE=${aws_dynamodb_table.leases.name}",
      "CHURN_REGISTRY=${local.registry}/",
    ],
    [for secret in aws_secretsmanager_secret.mongodb : "MONGODB_URI=${secret.arn}"],
    [""],
  ))
}

output "registry" {
  description = "Where docker logs in."
  value       = local.registry
}

output "pod_role_arns" {
  description = "By component: the annotation eks.amazonaws.com/role-arn of its service account."
  value       = { for name, role in aws_iam_role.pod : name => role.arn }
}

output "policy_arns" {
  description = "Of components, and of producer and operator, to attach to people and systems."
  value       = { for name, policy in merge(aws_iam_policy.component, aws_iam_policy.people) : name => policy.arn }
}

output "vm_instance_profile" {
  description = "For the machine that runs the compose stack."
  value       = one(aws_iam_instance_profile.vm[*].name)
}

output "github_role_arns" {
  description = "The variable AWS_ROLE: push that of the repository, pull that of its environment vm."
  value       = { for name, role in aws_iam_role.github : name => role.arn }
}

output "lambda_function" {
  description = "Name of the function, when there is one."
  value       = one([for function in aws_lambda_function.stream : function.function_name])
}

output "given_up_queue_url" {
  description = "Queue of the batches that the function gave up."
  value       = one([for queue in aws_sqs_queue.given_up : queue.url])
}

locals {
  # The address without the repository's own name.
  registry = trimsuffix(aws_ecr_repository.image["http"].repository_url, "/${var.project}-http")
}
