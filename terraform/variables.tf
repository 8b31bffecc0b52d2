# The variables of an environment, by subject in variables_*.tf. The defaults are those of production;
# environments/*.tfvars scale others down.

variable "region" {
  description = "AWS region of all resources."
  type        = string
  default     = "eu-central-1"
}

variable "tags" {
  description = "Tags for all resources, in addition to Project, Environment and ManagedBy."
  type        = map(string)
  default     = {}
}

variable "loader_image" {
  description = "Image of the loader, by digest: REPOSITORY@sha256:…"
  type        = string

  validation {
    condition     = can(regex("^[^@[:space:]]+@sha256:[0-9a-f]{64}$", var.loader_image))
    error_message = "loader_image must be pinned by digest, as REPOSITORY@sha256:… with 64 hexadecimal digits; a tag can be moved."
  }
}

variable "api_image" {
  description = "Image of the API, by digest: REPOSITORY@sha256:…"
  type        = string

  validation {
    condition     = can(regex("^[^@[:space:]]+@sha256:[0-9a-f]{64}$", var.api_image))
    error_message = "api_image must be pinned by digest, as REPOSITORY@sha256:… with 64 hexadecimal digits; a tag can be moved."
  }
}

variable "deletion_protection" {
  description = "Prevent deletion of the database, the load balancer and buckets that contain objects; keep secrets for 30 days after deletion."
  type        = bool
  default     = true
}
