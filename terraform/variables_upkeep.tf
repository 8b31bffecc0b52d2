# What runs by the clock, and how long things are kept.

variable "rotation" {
  description = "Rotate the database passwords of loader and API by alternating users, from the second apply on: the first one makes what `migrate` makes the users from."
  type        = bool
  default     = true
}

variable "rotation_schedule" {
  description = "When passwords are rotated. The API is redeployed three hours later by api_redeploy_schedule: change both."
  type        = string
  default     = "cron(0 3 1 * ? *)"
}

variable "api_redeploy_schedule" {
  description = "When the API is started anew to take the rotated password; the former one works until the next rotation."
  type        = string
  default     = "cron(0 6 1 * ? *)"
}

variable "gc_schedule" {
  description = "When abandoned batches are closed and lost objects started."
  type        = string
  default     = "rate(15 minutes)"
}

variable "compact_schedule" {
  description = "When rates are merged, if at least compact_min_batches batches are unmerged."
  type        = string
  default     = "rate(15 minutes)"
}

variable "compact_min_batches" {
  description = "Batches that must be unmerged for the scheduled compaction to run."
  type        = number
  default     = 16
}

variable "report_days" {
  description = "Days that validation reports are kept."
  type        = number
  default     = 400
}

variable "old_version_days" {
  description = "Days that overwritten or deleted objects are kept; executions and gc may read versions for 30 days."
  type        = number
  default     = 90

  validation {
    condition     = var.old_version_days > 30
    error_message = "old_version_days must be above 30: gc starts objects that were lost within 30 days, by version."
  }
}
