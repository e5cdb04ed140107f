variable "region" {
  description = "AWS region of everything."
  type        = string
  default     = "eu-west-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "A region looks like eu-west-1."
  }
}

variable "project" {
  description = "First part of the names of roles, policies, repositories and queues."
  type        = string
  default     = "churn"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.project))
    error_message = "2 to 20 small letters, digits and hyphens, a letter first."
  }
}

variable "tags" {
  description = "Tags of every resource, beside project and managed-by."
  type        = map(string)
  default     = {}
}

variable "emulator" {
  description = "Talk to an AWS emulator (AWS_ENDPOINT_URL): bucket in the path, no check of credentials."
  type        = bool
  default     = false
}

variable "bucket" {
  description = "CHURN_BUCKET; unique in the whole of AWS."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "3 to 63 small letters, digits and hyphens (a dot would break TLS host names)."
  }
}

variable "force_destroy" {
  description = "Let `terraform destroy` delete the bucket with all objects, and repositories with their images."
  type        = bool
  default     = false
}

variable "noncurrent_days" {
  description = "Days that replaced or deleted objects can still be restored."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1 && floor(var.noncurrent_days) == var.noncurrent_days
    error_message = "A whole number of days, 1 or more."
  }
}

variable "dead_letter_days" {
  description = "Days after which a dead letter that nobody replayed expires; they hold customers' data."
  type        = number
  default     = 90

  validation {
    condition     = var.dead_letter_days >= 1 && floor(var.dead_letter_days) == var.dead_letter_days
    error_message = "A whole number of days, 1 or more."
  }
}

variable "kms_key_arn" {
  description = "Customer-managed KMS key for bucket, streams, table, queue, images and secret; unset: AWS's own keys."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:", var.kms_key_arn))
    error_message = "The ARN of a KMS key."
  }
}

variable "stream_in" {
  description = "STREAM_IN: customers to score."
  type        = string
  default     = "predictions"
}

variable "stream_out" {
  description = "STREAM_OUT: their answers."
  type        = string
  default     = "results"
}

variable "shards" {
  description = "Shards of each stream: 1 MB/s or 1,000 records/s in, 2 MB/s out, each."
  type        = number
  default     = 1

  validation {
    condition     = var.shards >= 1 && var.shards <= 200 && floor(var.shards) == var.shards
    error_message = "A whole number from 1 to 200."
  }
}

variable "retention_hours" {
  description = "Hours that records stay in the streams: the longest outage without loss."
  type        = number
  default     = 24

  validation {
    condition     = var.retention_hours >= 24 && var.retention_hours <= 8760
    error_message = "From 24 hours to 8760 (a year)."
  }
}

variable "lease_table" {
  description = "STREAM_LEASE_TABLE: the workers' leases and checkpoints."
  type        = string
  default     = "churn-stream-leases"
}

variable "images_kept" {
  description = "Images that a repository keeps; older ones expire."
  type        = number
  default     = 50

  validation {
    condition     = var.images_kept >= 2
    error_message = "At least 2: the one that runs and the one to go back to."
  }
}

variable "alarms" {
  description = "Make CloudWatch alarms."
  type        = bool
  default     = true
}

variable "max_stream_age_minutes" {
  description = "Alarm when the oldest unread record is older than this."
  type        = number
  default     = 10
}

variable "alarm_topic_arns" {
  description = "SNS topics that alarms are sent to."
  type        = list(string)
  default     = []
}
