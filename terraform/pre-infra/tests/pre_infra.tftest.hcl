# What is there before the rest: a state that is kept, images that do not change, and CI's way in for one project alone.

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
    error_message = "one bucket an account and region"
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
    error_message = "a repository for each image"
  }

  assert {
    condition     = alltrue([for repository in aws_ecr_repository.image : repository.image_tag_mutability == "IMMUTABLE" && repository.image_scanning_configuration[0].scan_on_push])
    error_message = "a tag is written once, and what it names is scanned"
  }

  assert {
    condition     = length(aws_iam_role.ci) == 0 && length(aws_iam_openid_connect_provider.gitlab) == 0
    error_message = "without a project nobody gets in"
  }
}

run "a_project_of_gitlab" {
  command = plan

  variables {
    gitlab_project = "group/ratesflow"
  }

  assert {
    condition     = aws_iam_openid_connect_provider.gitlab[0].url == "https://gitlab.com" && toset(aws_iam_openid_connect_provider.gitlab[0].client_id_list) == toset(["https://gitlab.com"])
    error_message = "GitLab vouches for its jobs, to itself as the audience"
  }

  assert {
    condition     = local.ci_conditions.StringEquals["gitlab.com:aud"] == "https://gitlab.com" && local.ci_conditions.StringLike["gitlab.com:sub"] == "project_path:group/ratesflow:ref_type:*:ref:*"
    error_message = "the role is for the jobs of that project alone"
  }

  assert {
    condition     = length(aws_iam_role_policy_attachment.ci) == 0
    error_message = "what CI may do is said by whoever owns the account"
  }
}
