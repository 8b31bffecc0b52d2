# Schedules and retention.

variable "rotation" {
  description = "Rotate the database passwords of the loader and the API with alternating users, from the second apply on: the first one creates the secrets from which `migrate` creates the users."
  type        = bool
  default     = true
}

variable "rotation_schedule" {
  description = "When passwords are rotated. api_redeploy_schedule redeploys the API three hours later: change both."
  type        = string
  default     = "cron(0 3 1 * ? *)"
}

variable "api_redeploy_schedule" {
  description = "When the API is redeployed to use the rotated password; the former one works until the next rotation."
  type        = string
  default     = "cron(0 6 1 * ? *)"
}

variable "gc_schedule" {
  description = "When abandoned batches are closed and files whose event was lost are started."
  type        = string
  default     = "rate(15 minutes)"
}

variable "compact_schedule" {
  description = "When rates are merged, if at least compact_min_batches batches are not merged yet."
  type        = string
  default     = "rate(5 minutes)"
}

variable "compact_min_batches" {
  description = "How many batches must be committed since the last compaction for the next one to run."
  type        = number
  default     = 16
}

variable "report_days" {
  description = "Days for which validation reports are kept."
  type        = number
  default     = 400
}

variable "old_version_days" {
  description = "Days for which overwritten or deleted objects are kept; executions and gc may read versions for 30 days."
  type        = number
  default     = 90

  validation {
    condition     = var.old_version_days > 30
    error_message = "old_version_days must be above 30: gc starts files whose event was lost within 30 days, by version."
  }
}
