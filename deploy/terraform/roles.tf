locals {
  # Pods and machines; the function has its own trust (lambda.tf).
  components  = toset([for name, _ in local.permissions : name if name != "lambda"])
  eks_issuer  = try(regex("oidc-provider/(.+)$", var.eks_oidc_provider_arn)[0], null)
  pod_roles   = var.eks_oidc_provider_arn == null ? toset([]) : local.components
  vm_policies = var.vm_profile ? local.components : toset([])
}

# A role a Kubernetes service account: churn-http, churn-worker, ... (deploy/k8s).
data "aws_iam_policy_document" "pod_trust" {
  for_each = local.pod_roles

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [var.eks_oidc_provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.eks_issuer}:sub"
      values   = ["system:serviceaccount:${var.namespace}:churn-${each.key}"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.eks_issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "pod" {
  for_each = local.pod_roles

  name               = "${var.project}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.pod_trust[each.key].json
}

resource "aws_iam_role_policy_attachment" "pod" {
  for_each = local.pod_roles

  role       = aws_iam_role.pod[each.key].name
  policy_arn = aws_iam_policy.component[each.key].arn
}

# One machine that runs the compose stack: all components' permissions, and pulling images.
data "aws_iam_policy_document" "vm_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "vm" {
  count = var.vm_profile ? 1 : 0

  name               = "${var.project}-vm"
  assume_role_policy = data.aws_iam_policy_document.vm_trust.json
}

resource "aws_iam_role_policy_attachment" "vm" {
  for_each = local.vm_policies

  role       = aws_iam_role.vm[0].name
  policy_arn = aws_iam_policy.component[each.key].arn
}

data "aws_iam_policy_document" "pull" {
  statement {
    sid       = "LogIn"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"] # the action knows no resource
  }

  statement {
    sid       = "Pull"
    actions   = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [for repository in aws_ecr_repository.image : repository.arn]
  }
}

resource "aws_iam_role_policy" "vm_pull" {
  count = var.vm_profile ? 1 : 0

  name   = "pull-images"
  role   = aws_iam_role.vm[0].id
  policy = data.aws_iam_policy_document.pull.json
}

resource "aws_iam_instance_profile" "vm" {
  count = var.vm_profile ? 1 : 0

  name = "${var.project}-vm"
  role = aws_iam_role.vm[0].name
}
