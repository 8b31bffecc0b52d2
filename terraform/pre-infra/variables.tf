variable "region" {
  description = "AWS region of state and images."
  type        = string
  default     = "eu-central-1"
}

variable "environments" {
  description = "Environments of this account, the one that may least lose an image first: how many of the images deployed there are kept, and, if there is a role for GitLab, the protected branches and tags that may deploy it (* stands for any characters). `subjects` are for a project whose ID tokens have another `sub`."
  type = list(object({
    name        = string
    kept_images = optional(number, 100)
    branches    = optional(list(string), ["main"])
    tags        = optional(list(string), [])
    subjects    = optional(list(string), [])
  }))
  default = [
    { name = "production" },
    { name = "staging" },
    { name = "dev" },
  ]

  validation {
    condition = alltrue([
      for each in var.environments : can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", each.name)) && length(each.name) >= 2 &&
      length(each.name) <= 12 && !contains(["ci", "images", "state"], each.name)
    ])
    error_message = "An environment is named as a workspace of Terraform: 2 to 12 small letters, digits and single hyphens, and neither ci, images nor state, which other names begin with."
  }

  validation {
    condition = alltrue([
      for pair in setproduct(var.environments[*].name, var.environments[*].name) : !startswith(pair[0], "${pair[1]}-")
    ])
    error_message = "No environment's name may continue another's after a hyphen, as dev-eu continues dev: rights go by the beginnings of names."
  }

  validation {
    condition     = length(distinct(var.environments[*].name)) == length(var.environments)
    error_message = "Each environment is named once."
  }

  validation {
    condition     = alltrue([for each in var.environments : each.kept_images >= 2 && floor(each.kept_images) == each.kept_images])
    error_message = "kept_images is at least 2: the image that runs and the one before it."
  }

  validation {
    condition     = alltrue([for each in var.environments : length(concat(each.branches, each.tags, each.subjects)) > 0])
    error_message = "An environment needs a branch or a tag that it is deployed from."
  }

  validation {
    condition     = alltrue(flatten([for each in var.environments : [for ref in concat(each.branches, each.tags) : can(regex("^[A-Za-z0-9_./*-]+$", ref)) && can(regex("[A-Za-z0-9]", ref))]]))
    error_message = "A branch or tag is named as GitLab protects it, such as main or v*; * alone would let every developer deploy."
  }

  validation {
    condition     = alltrue(flatten([for each in var.environments : [for subject in each.subjects : startswith(subject, "project_path:${coalesce(var.gitlab_project, "/")}:")]]))
    error_message = "Each of subjects begins with project_path:GROUP/PROJECT: of gitlab_project, so that no other project gets in."
  }
}

variable "kept_images" {
  description = "Newest images that each repository keeps whether they were deployed or not."
  type        = number
  default     = 100

  validation {
    condition     = var.kept_images >= 10
    error_message = "kept_images is at least 10: an image is planned with before it is deployed, sometimes days before."
  }
}

variable "gitlab_url" {
  description = "GitLab whose jobs may assume CI's roles."
  type        = string
  default     = "https://gitlab.com"

  validation {
    condition     = can(regex("^https://[^/]+(/.*[^/])?$", var.gitlab_url))
    error_message = "gitlab_url begins with https:// and has no slash at its end."
  }
}

variable "gitlab_project" {
  description = "Project of that GitLab, as GROUP/PROJECT; none makes no roles."
  type        = string
  default     = null

  validation {
    condition     = var.gitlab_project == null || can(regex("^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+$", var.gitlab_project))
    error_message = "gitlab_project is GROUP/PROJECT, or GROUP/SUBGROUP/PROJECT, without wildcards."
  }
}

variable "gitlab_oidc_provider_arn" {
  description = "OpenID Connect provider of that GitLab, if the account has one already: an account has one of each address at most. Its audiences must include gitlab_url."
  type        = string
  default     = null

  validation {
    condition     = var.gitlab_oidc_provider_arn == null || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:oidc-provider/.+$", var.gitlab_oidc_provider_arn))
    error_message = "gitlab_oidc_provider_arn is as in arn:aws:iam::123456789012:oidc-provider/gitlab.com."
  }
}

variable "ci_policy_arns" {
  description = "Further policies of the roles that deploy, beside those in ci_*.tf."
  type        = list(string)
  default     = []
}
