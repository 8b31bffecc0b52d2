# Permissions for the `aws` commands of .gitlab-ci.yml. Those of Terraform itself are in ci_terraform.tf.

locals {
  ci_repositories = [for repository in values(local.repositories) : "arn:${local.partition}:ecr:${var.region}:${local.account}:repository/${repository}"]
  ci_state        = "arn:${local.partition}:s3:::${local.state_bucket}"

  # The state of one workspace and its lock. Before a workspace is selected, Terraform reads the state of the default one.
  ci_commands = {
    for name in local.ci_environments : name => [
      {
        Sid      = "States"
        Effect   = "Allow"
        Action   = "s3:ListBucket"
        Resource = local.ci_state
      },
      {
        Sid      = "DefaultState"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "${local.ci_state}/ratesflow.tfstate"
      },
      {
        Sid      = "State"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject"]
        Resource = "${local.ci_state}/environments/${name}/ratesflow.tfstate"
      },
      {
        Sid      = "Lock"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
        Resource = "${local.ci_state}/environments/${name}/ratesflow.tfstate.tflock"
      },
      {
        Sid      = "Addresses"
        Effect   = "Allow"
        Action   = "ssm:GetParameters"
        Resource = "arn:${local.partition}:ssm:${var.region}:${local.account}:parameter/ratesflow/${name}/*"
      },
      {
        Sid      = "Marks" # deployed images get a tag, so that the registry keeps them
        Effect   = "Allow"
        Action   = ["ecr:BatchGetImage", "ecr:PutImage"]
        Resource = local.ci_repositories
      },
      {
        Sid      = "Jobs" # these do not support resources
        Effect   = "Allow"
        Action   = ["batch:DescribeJobDefinitions", "batch:DescribeJobs"]
        Resource = "*"
      },
      {
        Sid    = "Migration"
        Effect = "Allow"
        Action = ["batch:RegisterJobDefinition", "batch:SubmitJob", "batch:TagResource"]
        Resource = [
          for resource in ["job-definition/ratesflow-${name}-migrate", "job-definition/ratesflow-${name}-migrate:*", "job-queue/ratesflow-${name}", "job-queue/ratesflow-${name}-*"] :
          "arn:${local.partition}:batch:${var.region}:${local.account}:${resource}"
        ]
      },
      {
        Sid       = "MigrationRoles" # a revision names the roles of its containers
        Effect    = "Allow"
        Action    = "iam:PassRole"
        Resource  = "arn:${local.partition}:iam::${local.account}:role/ratesflow-${name}-${var.region}-*"
        Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
      },
      {
        Sid      = "Service"
        Effect   = "Allow"
        Action   = "ecs:DescribeServices"
        Resource = "arn:${local.partition}:ecs:${var.region}:${local.account}:service/ratesflow-${name}/api"
      },
    ]
  }
}

resource "aws_iam_role_policy" "ci_commands" {
  #checkov:skip=CKV_AWS_355:The describe actions of Batch do not support resources.
  for_each = local.ci_environments

  name   = "commands"
  role   = aws_iam_role.ci[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.ci_commands[each.key] })
}

resource "aws_iam_role_policy" "ci_images" {
  count = var.gitlab_project == null ? 0 : 1

  name = "images"
  role = aws_iam_role.ci["images"].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Login" # does not support resources
        Effect   = "Allow"
        Action   = "ecr:GetAuthorizationToken"
        Resource = "*"
      },
      {
        Sid    = "Images"
        Effect = "Allow"
        Action = [
          "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:GetDownloadUrlForLayer",
          "ecr:InitiateLayerUpload", "ecr:ListImages", "ecr:PutImage", "ecr:UploadLayerPart",
        ]
        Resource = local.ci_repositories
      },
    ]
  })
}
