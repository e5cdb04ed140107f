terraform {
  # 1.10 brought locks in the state's own bucket (use_lockfile).
  required_version = ">= 1.10, < 2.0"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # Exact, because there is no lock file: it would name the registry that served the provider.
      version = "5.100.0"
    }
  }

  # Bucket, key and region come from a file: terraform init -backend-config=state.tfbackend
  backend "s3" {
    use_lockfile = true
    encrypt      = true
  }
}

# AWS_ENDPOINT_URL, AWS_PROFILE and the like are the provider's own settings.
provider "aws" {
  region                      = var.region
  s3_use_path_style           = var.emulator
  skip_credentials_validation = var.emulator
  skip_metadata_api_check     = var.emulator

  default_tags {
    tags = merge({ project = var.project, managed-by = "terraform" }, var.tags)
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
