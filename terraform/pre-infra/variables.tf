variable "region" {
  description = "AWS region of state and images."
  type        = string
  default     = "eu-central-1"
}

variable "environments" {
  description = "Environments of this account, ordered by how much the loss of an image would matter, most important first. For each: how many deployed images are kept and, if GitLab has a role, the protected branches and tags that may deploy it (* matches any characters). `subjects` are for projects whose ID tokens have a different `sub`."
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
    error_message = "The name of an environment must be a valid workspace name: 2 to 12 lower-case letters, digits and single hyphens, but not ci, images or state, with which other names begin."
  }

  validation {
    condition = alltrue([
      for pair in setproduct(var.environments[*].name, var.environments[*].name) : !startswith(pair[0], "${pair[1]}-")
    ])
    error_message = "The name of an environment must not extend another one after a hyphen, as dev-eu extends dev: permissions depend on the prefixes of names."
  }

  validation {
    condition     = length(distinct(var.environments[*].name)) == length(var.environments)
    error_message = "The names of environments must be unique."
  }

  validation {
    condition     = alltrue([for each in var.environments : each.kept_images >= 2 && floor(each.kept_images) == each.kept_images])
    error_message = "kept_images of an environment must be at least 2: the running image and the previous one."
  }

  validation {
    condition     = alltrue([for each in var.environments : length(concat(each.branches, each.tags, each.subjects)) > 0])
    error_message = "Each environment needs a branch or a tag from which it is deployed."
  }

  validation {
    condition     = alltrue(flatten([for each in var.environments : [for ref in concat(each.branches, each.tags) : can(regex("^[A-Za-z0-9_./*-]+$", ref)) && can(regex("[A-Za-z0-9]", ref))]]))
    error_message = "A branch or tag must be named as it is protected in GitLab, such as main or v*; * alone would let every developer deploy."
  }

  validation {
    condition     = alltrue(flatten([for each in var.environments : [for subject in each.subjects : startswith(subject, "project_path:${coalesce(var.gitlab_project, "/")}:")]]))
    error_message = "Each entry of subjects must begin with project_path:GROUP/PROJECT: with gitlab_project, so that no other project has access."
  }
}

variable "kept_images" {
  description = "Number of newest images that each repository keeps, deployed or not."
  type        = number
  default     = 100

  validation {
    condition     = var.kept_images >= 10
    error_message = "kept_images must be at least 10: an image is planned before it is deployed, sometimes days before."
  }
}

variable "gitlab_url" {
  description = "URL of the GitLab instance whose jobs may assume CI's roles."
  type        = string
  default     = "https://gitlab.com"

  validation {
    condition     = can(regex("^https://[^/]+(/.*[^/])?$", var.gitlab_url))
    error_message = "gitlab_url must begin with https:// and must not end with a slash."
  }
}

variable "gitlab_project" {
  description = "GitLab project, as GROUP/PROJECT; without one no roles are created."
  type        = string
  default     = null

  validation {
    condition     = var.gitlab_project == null || can(regex("^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+$", var.gitlab_project))
    error_message = "gitlab_project must be GROUP/PROJECT, or GROUP/SUBGROUP/PROJECT, without wildcards."
  }
}

variable "gitlab_oidc_provider_arn" {
  description = "OpenID Connect provider of that GitLab instance, if the account already has one: an account can have only one per URL. Its audiences must include gitlab_url."
  type        = string
  default     = null

  validation {
    condition     = var.gitlab_oidc_provider_arn == null || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:oidc-provider/.+$", var.gitlab_oidc_provider_arn))
    error_message = "gitlab_oidc_provider_arn must be an ARN such as arn:aws:iam::123456789012:oidc-provider/gitlab.com."
  }
}

variable "ci_policy_arns" {
  description = "Additional policies for the roles that deploy, besides those in ci_*.tf."
  type        = list(string)
  default     = []
}
