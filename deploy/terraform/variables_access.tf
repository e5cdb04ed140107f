variable "eks_oidc_provider_arn" {
  description = "IAM OIDC provider of the EKS cluster: makes one role a service account. Unset: none."
  type        = string
  default     = null

  validation {
    condition     = var.eks_oidc_provider_arn == null || can(regex(":oidc-provider/.+", var.eks_oidc_provider_arn))
    error_message = "The ARN of an IAM OIDC provider: arn:aws:iam::ACCOUNT:oidc-provider/ISSUER."
  }
}

variable "namespace" {
  description = "Kubernetes namespace of the service accounts churn-http, churn-worker, ..."
  type        = string
  default     = "churn"
}

variable "vm_profile" {
  description = "Make an EC2 instance profile for a machine that runs the whole compose stack."
  type        = bool
  default     = false
}

variable "github_repository" {
  description = "GitHub repository (OWNER/NAME) whose workflows may push images. Unset: no role."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$", var.github_repository))
    error_message = "OWNER/NAME, without wildcards."
  }
}

variable "github_subjects" {
  description = "Which of its runs may push: what follows repo:OWNER/NAME: in the token's subject."
  type        = list(string)
  default     = ["ref:refs/heads/main", "ref:refs/tags/v*"]

  validation {
    condition = length(var.github_subjects) > 0 && alltrue([
      for subject in var.github_subjects : can(regex("^(ref:refs/(heads|tags)/[A-Za-z0-9]|environment:[A-Za-z0-9])", subject))
    ])
    error_message = "Each is ref:refs/heads/..., ref:refs/tags/... or environment:..., never a bare wildcard or pull_request."
  }
}

variable "github_deploy_environment" {
  description = "GitHub environment whose jobs let a machine pull images, and may not push any."
  type        = string
  default     = "vm"
}

variable "github_oidc_provider_arn" {
  description = "GitHub's OIDC provider where the account has one already (there can be only one). Unset: made here."
  type        = string
  default     = null
}

variable "mongodb_secret" {
  description = "Make a secret for MONGODB_URI; its value is put by hand and never enters the state."
  type        = bool
  default     = true
}
