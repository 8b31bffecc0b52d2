terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.20"
    }
    archive = {
      source  = "hashicorp/archive"
      version = "~> 2.7"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.7"
    }
  }

  # Bucket and region come from pre-infra: terraform init -backend-config=bucket=NAME -backend-config=region=REGION.
  # The lock is a file beside the state, which S3 writes only if it does not exist.
  backend "s3" {
    key                  = "ratesflow.tfstate"
    workspace_key_prefix = "environments"
    encrypt              = true
    use_lockfile         = true
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = local.tags
  }
}
