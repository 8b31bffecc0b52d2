# Numbers that an environment seldom needs to change.

variable "database_version" {
  description = "Major version of PostgreSQL: one that the tests run on."
  type        = string
  default     = "16"

  validation {
    condition     = contains(["16", "18"], var.database_version)
    error_message = "database_version must be 16 or 18, which the tests run on."
  }
}

variable "database_authorities" {
  description = "Path, in both images, of the certificates of RDS's authorities; with it the server's certificate is verified."
  type        = string
  default     = null
}

variable "rds_instance_class" {
  description = "Instance class without Aurora."
  type        = string
  default     = "db.t4g.micro"
}

variable "rds_storage_gib" {
  description = "Storage without Aurora, in GiB; it grows by itself to five times that."
  type        = number
  default     = 20
}

variable "rds_multi_az" {
  description = "A standby in another zone, without Aurora."
  type        = bool
  default     = true
}

variable "backup_days" {
  description = "Days for which the database can be restored to any second: 1 to 35."
  type        = number
  default     = 14
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
  description = "When rates are merged, if compact_least batches are open."
  type        = string
  default     = "rate(15 minutes)"
}

variable "compact_least" {
  description = "Open batches from which on a compaction is worth it."
  type        = number
  default     = 16
}

variable "api_cpu" {
  description = "CPU units of an API task: 1024 are one vCPU."
  type        = number
  default     = 1024
}

variable "api_memory" {
  description = "Memory of an API task, in MiB."
  type        = number
  default     = 2048
}

variable "api_workers" {
  description = "Processes of an API task; each keeps up to nine connections to the database and 64 MB of answers."
  type        = number
  default     = 2
}

variable "api_requests_per_task" {
  description = "Requests a minute for each task above which tasks are added."
  type        = number
  default     = 60000
}

variable "api_environment" {
  description = "Further settings of the API: see api/wsgi.py."
  type        = map(string)
  default     = {}
}

variable "task_environment" {
  description = "Further settings of the tasks: see loader/limits.py and loader/gc.py."
  type        = map(string)
  default     = {}
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

variable "log_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 365
}

variable "alarm_thresholds" {
  description = "Where alarms begin, by their short names; the units are in alarms_*.tf."
  type        = map(number)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.alarm_thresholds) : contains(keys(merge(local.workflow_alarms, local.api_alarms, local.database_alarms)), name)])
    error_message = "alarm_thresholds names an alarm that there is not: see alarms_*.tf."
  }
}
