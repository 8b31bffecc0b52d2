# The name of an environment, refused while planning if it is none. (Validation of a variable would refuse it in
# `terraform validate` too, which needs no workspace.)
terraform {
  required_version = ">= 1.11, < 2.0"
}

variable "name" {
  description = "The workspace, which is the environment's name."
  type        = string
}

output "name" {
  description = "The name, checked."
  value       = var.name

  precondition {
    condition     = var.name != "default"
    error_message = "The workspace \"default\" is no environment. Choose one first, such as: terraform workspace select -or-create dev"
  }

  # Subjects of notifications hold it, of which SNS allows 100 characters: LONGEST_ENVIRONMENT in workflow/settings.py.
  precondition {
    condition     = can(regex("^[a-z][a-z0-9-]{0,10}[a-z0-9]$", var.name)) && !strcontains(var.name, "--") # which RDS refuses
    error_message = "The workspace \"${var.name}\" is no name for an environment: 2 to 12 characters, a to z, 0 to 9 and hyphens, a letter first, no hyphen last and no two in a row."
  }
}
