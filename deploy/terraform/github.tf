# GitHub Actions work without a stored key: a run's own token is exchanged for a role. A job that
# logs a machine in hands over what its role may, so that it has one that cannot push.
locals {
  github_roles = var.github_repository == null ? {} : {
    push = { subjects = var.github_subjects, policy = data.aws_iam_policy_document.push.json }
    pull = {
      subjects = ["environment:${var.github_deploy_environment}"]
      policy   = data.aws_iam_policy_document.pull.json
    }
  }
}

resource "aws_iam_openid_connect_provider" "github" {
  count = var.github_repository != null && var.github_oidc_provider_arn == null ? 1 : 0

  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "github_trust" {
  for_each = local.github_roles

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [coalesce(var.github_oidc_provider_arn, one(aws_iam_openid_connect_provider.github[*].arn))]
    }

    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringLike"
      variable = "token.actions.githubusercontent.com:sub"
      values   = [for subject in each.value.subjects : "repo:${var.github_repository}:${subject}"]
    }
  }
}

data "aws_iam_policy_document" "push" {
  statement {
    sid       = "LogIn"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"] # the action knows no resource
  }

  statement {
    sid = "Push"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:CompleteLayerUpload",
      "ecr:GetDownloadUrlForLayer",
      "ecr:InitiateLayerUpload",
      "ecr:PutImage",
      "ecr:UploadLayerPart",
    ]
    resources = [for repository in aws_ecr_repository.image : repository.arn]
  }
}

resource "aws_iam_role" "github" {
  for_each = local.github_roles

  name                 = "${var.project}-github-${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.github_trust[each.key].json
  max_session_duration = 3600
}

resource "aws_iam_role_policy" "github" {
  for_each = local.github_roles

  name   = "${each.key}-images"
  role   = aws_iam_role.github[each.key].id
  policy = each.value.policy
}
