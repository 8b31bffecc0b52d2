# Alarms, metrics, logs, and who is told.

variable "monitoring" {
  description = "Dashboard, alarms, metrics of tasks and API, container insights, enhanced monitoring: all or nothing."
  type        = bool
  default     = true
}

variable "alarm_emails" {
  description = "Addresses that alarms and the budget are sent to; each has to confirm."
  type        = list(string)
  default     = []
}

variable "notification_emails" {
  description = "Addresses that the outcome of every batch is sent to; each has to confirm."
  type        = list(string)
  default     = []
}

variable "monthly_budget_usd" {
  description = "Say so when this environment costs more than 80 % of it in a month, in US dollars; 0 has no budget."
  type        = number
  default     = 0
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
