# CI's way in without stored keys: GitLab vouches for its jobs (OpenID Connect), and AWS lends them a role for an hour.

locals {
  gitlab_host = trimprefix(var.gitlab_url, "https://")

  # Of the project named, any branch or tag: which of them may deploy is for GitLab to protect.
  ci_conditions = {
    StringEquals = { "${local.gitlab_host}:aud" = var.gitlab_url }
    StringLike   = { "${local.gitlab_host}:sub" = "project_path:${coalesce(var.gitlab_project, "none")}:ref_type:*:ref:*" }
  }
}

resource "aws_iam_openid_connect_provider" "gitlab" {
  count = var.gitlab_project == null ? 0 : 1

  url            = var.gitlab_url
  client_id_list = [var.gitlab_url]
}

resource "aws_iam_role" "ci" {
  count = var.gitlab_project == null ? 0 : 1

  name                 = "ratesflow-ci"
  max_session_duration = 3600
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = aws_iam_openid_connect_provider.gitlab[0].arn }
      Condition = local.ci_conditions
    }]
  })
}

resource "aws_iam_role_policy_attachment" "ci" {
  for_each = var.gitlab_project == null ? toset([]) : toset(var.ci_policy_arns)

  role       = aws_iam_role.ci[0].name
  policy_arn = each.key
}
