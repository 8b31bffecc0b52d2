# The prerequisites: a state that is kept, and images that do not change. Access for CI: ci.tftest.hcl.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

run "state_and_images" {
  command = plan

  assert {
    condition     = aws_s3_bucket.state.bucket == "ratesflow-state-123456789012-eu-central-1"
    error_message = "there is one bucket per account and region"
  }

  assert {
    condition     = aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled"
    error_message = "former states are kept"
  }

  assert {
    condition = (
      aws_s3_bucket_public_access_block.state.block_public_acls && aws_s3_bucket_public_access_block.state.block_public_policy &&
      aws_s3_bucket_public_access_block.state.ignore_public_acls && aws_s3_bucket_public_access_block.state.restrict_public_buckets
    )
    error_message = "the state cannot be made public"
  }

  assert {
    condition     = sort([for repository in aws_ecr_repository.image : repository.name]) == tolist(["ratesflow/api", "ratesflow/loader"])
    error_message = "there is a repository for each image"
  }

  assert {
    condition     = alltrue([for repository in aws_ecr_repository.image : repository.image_tag_mutability == "IMMUTABLE" && repository.image_scanning_configuration[0].scan_on_push])
    error_message = "tags are immutable, and images are scanned"
  }

  assert {
    condition     = length(aws_iam_role.ci) == 0 && length(aws_iam_openid_connect_provider.gitlab) == 0
    error_message = "without a project there is no access"
  }
}

run "deployed_images_stay_in_the_registry" {
  command = plan

  variables {
    environments = [{ name = "production", kept_images = 50 }, { name = "dev", kept_images = 20 }]
  }

  assert {
    condition     = alltrue([for policy in aws_ecr_lifecycle_policy.image : [for rule in jsondecode(policy.policy).rules : rule.rulePriority] == [1, 2, 3, 4, 5]])
    error_message = "each rule has its own priority"
  }

  assert {
    condition = [for rule in jsondecode(aws_ecr_lifecycle_policy.image["loader"].policy).rules : try(rule.selection.tagPrefixList, [])] == [
      [], ["deployed-production-"], ["deployed-dev-"], ["deployed-"], []
    ]
    error_message = "a rule has one prefix (several would all have to match), and production's comes before that of environments that every merge deploys"
  }

  assert {
    condition     = [for rule in jsondecode(aws_ecr_lifecycle_policy.image["api"].policy).rules : rule.selection.tagStatus] == ["untagged", "tagged", "tagged", "tagged", "any"]
    error_message = "the rule for any image comes last: it cannot expire what an earlier rule matches"
  }

  assert {
    condition     = [for rule in jsondecode(aws_ecr_lifecycle_policy.image["api"].policy).rules : rule.selection.countNumber] == [7, 50, 20, 1000, 100]
    error_message = "the given number of images is kept"
  }
}
