# Alarms, metrics, logs, and who is told.

variable "monitoring" {
  description = "Dashboard, alarms, metrics of tasks and API, container insights, enhanced monitoring, traces, flow logs: all or nothing."
  type        = bool
  default     = true
}

variable "nothing_arrived_hours" {
  description = "Say so when no file has arrived for so many hours: longer than suppliers are silent, nights and holidays included. 0 never does."
  type        = number
  default     = 0

  validation {
    condition     = var.nothing_arrived_hours >= 0 && var.nothing_arrived_hours <= 168 && floor(var.nothing_arrived_hours) == var.nothing_arrived_hours
    error_message = "nothing_arrived_hours must be 0 to 168: CloudWatch looks back over a week at most."
  }
}

variable "alarm_emails" {
  description = "Addresses that alarms and the budget are sent to; each has to confirm by the link in its first mail."
  type        = list(string)
  default     = []

  validation {
    condition     = !var.monitoring || length(var.alarm_emails) + length(var.alarm_urls) > 0
    error_message = "Alarms that nobody hears wake nobody: set alarm_emails or alarm_urls, such as TF_VAR_alarm_emails='[\"oncall@example.com\"]', or monitoring = false."
  }
}

variable "alarm_urls" {
  description = "HTTPS addresses that alarms and the budget are posted to, such as a pager's; each has to confirm, as SNS asks it to."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for url in var.alarm_urls : startswith(url, "https://")])
    error_message = "alarm_urls holds addresses that begin with https://."
  }
}

variable "notification_emails" {
  description = "Addresses that the outcome of every batch is sent to; each has to confirm."
  type        = list(string)
  default     = []
}

variable "monthly_budget_usd" {
  description = "Say so when this environment costs more than 80 % of it in a month, in US dollars; 0 has no budget. It counts by the tag Environment, once that is activated for cost allocation."
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
