# The name of the environment, checked while planning. (A validation of the variable would also fail `terraform validate`, which
# needs no workspace.)
terraform {
  required_version = ">= 1.11, < 2.0"
}

variable "name" {
  description = "The workspace, which is the name of the environment."
  type        = string
}

output "name" {
  description = "The checked name."
  value       = var.name

  precondition {
    condition     = var.name != "default"
    error_message = "The workspace \"default\" is not an environment. Select one first, such as: terraform workspace select -or-create dev"
  }

  # The subjects of notifications contain it, and SNS allows 100 characters: LONGEST_ENVIRONMENT in workflow/settings.py.
  precondition {
    condition     = can(regex("^[a-z][a-z0-9-]{0,10}[a-z0-9]$", var.name)) && !strcontains(var.name, "--") # RDS does not allow it
    error_message = "The workspace \"${var.name}\" is not a valid environment name: 2 to 12 characters, a to z, 0 to 9 and hyphens; it must begin with a letter and must not end with a hyphen or contain two in a row."
  }
}
