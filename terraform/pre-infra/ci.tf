# Access for CI without stored keys: GitLab signs a token for each job (OpenID Connect), and AWS exchanges it for a role, for an
# hour. One role pushes images; each environment has its own, which only its protected branches and tags may assume.
#
# Of GitLab's claims, a trust policy can check only `aud`, `sub` and `amr`. (AWS supports more for GitHub, Google, CircleCI and
# Oracle, since January 2026.) `sub` contains project, kind of ref and ref. So merge requests and other branches have no access, but
# only the pipeline, and who may merge, separates two environments that are deployed from the same branch.

locals {
  gitlab_host = trimprefix(var.gitlab_url, "https://")
  ci_name     = "ratesflow-ci-${var.region}"
  ci_project  = "project_path:${coalesce(var.gitlab_project, "none/none")}"

  ci_subjects = {
    for each in var.environments : each.name => concat(
      [for branch in each.branches : "${local.ci_project}:ref_type:branch:ref:${branch}"],
      [for tag in each.tags : "${local.ci_project}:ref_type:tag:ref:${tag}"],
      each.subjects,
    )
  }

  # Images are built once for all environments.
  ci_roles = var.gitlab_project == null ? {} : merge({ images = distinct(flatten(values(local.ci_subjects))) }, local.ci_subjects)

  ci_environments = var.gitlab_project == null ? toset([]) : toset(var.environments[*].name)
  ci_provider     = var.gitlab_oidc_provider_arn != null ? var.gitlab_oidc_provider_arn : one(aws_iam_openid_connect_provider.gitlab[*].arn)
}

resource "aws_iam_openid_connect_provider" "gitlab" {
  count = var.gitlab_project != null && var.gitlab_oidc_provider_arn == null ? 1 : 0

  url            = var.gitlab_url
  client_id_list = [var.gitlab_url]
}

resource "aws_iam_role" "ci" {
  for_each = local.ci_roles

  name                 = "${local.ci_name}-${each.key}"
  description          = each.key == "images" ? "GitLab: pushes images" : "GitLab: deploys ${each.key}"
  max_session_duration = 3600
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "ProtectedRefs"
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = local.ci_provider }
      Condition = {
        StringEquals = { "${local.gitlab_host}:aud" = var.gitlab_url }
        StringLike   = { "${local.gitlab_host}:sub" = each.value }
      }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "ci" {
  for_each = { for pair in setproduct(local.ci_environments, var.ci_policy_arns) : "${pair[0]} ${pair[1]}" => pair }

  role       = aws_iam_role.ci[each.value[0]].name
  policy_arn = each.value[1]
}
