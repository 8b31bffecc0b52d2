# The prerequisites: state bucket, registry, and access for CI. Applied once per account, by hand or by the job pre-infra-setup,
# with a local state that may be lost: everything here can be imported.
terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.20"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { Project = "ratesflow", ManagedBy = "terraform" }
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
}
