variable "lambda_enabled" {
  description = "Answer the stream by a Lambda function INSTEAD of the worker. Stop the workers first."
  type        = bool
  default     = false
}

variable "lambda_image_uri" {
  description = "Image of the function, by digest or immutable tag, in the churn-lambda repository."
  type        = string
  default     = null

  validation {
    condition     = !var.lambda_enabled || can(regex("(@sha256:[0-9a-f]{64}|:[A-Za-z0-9_][A-Za-z0-9_.-]*)$", var.lambda_image_uri))
    error_message = "lambda_enabled needs an image with a tag or digest."
  }

  validation {
    condition     = !endswith(coalesce(var.lambda_image_uri, "unset"), ":latest")
    error_message = "latest is no version: name a tag or digest."
  }
}

variable "run_id" {
  description = "RUN_ID: the MLflow run to serve; unset: the live champion under champions/."
  type        = string
  default     = null

  validation {
    condition     = var.run_id == null || can(regex("^[0-9a-f]{32}$", var.run_id))
    error_message = "An MLflow run id: 32 hexadecimal digits."
  }
}

variable "test_run" {
  description = "TEST_RUN: the function answers and writes nothing."
  type        = bool
  default     = false
}

variable "lambda_memory_mb" {
  description = "Memory of the function; its CPU share grows with it (1,769 MB is one core)."
  type        = number
  default     = 1769

  validation {
    condition     = var.lambda_memory_mb >= 512 && var.lambda_memory_mb <= 10240
    error_message = "From 512 to 10240 MB."
  }
}

variable "lambda_subnet_ids" {
  description = "Subnets of the function, where MongoDB is in a private network. Unset: no VPC."
  type        = list(string)
  default     = []
}

variable "lambda_security_group_ids" {
  description = "Security groups of the function in those subnets."
  type        = list(string)
  default     = []

  validation {
    condition     = (length(var.lambda_security_group_ids) == 0) == (length(var.lambda_subnet_ids) == 0)
    error_message = "Subnets and security groups come together."
  }
}

variable "log_days" {
  description = "Days that the function's log is kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_days)
    error_message = "CloudWatch knows 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545 and 731 days."
  }
}
