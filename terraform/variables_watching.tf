# Alarms, metrics, logs, and their recipients.

variable "monitoring" {
  description = "Dashboard, alarms, metrics of tasks and API, Container Insights, enhanced monitoring, traces and flow logs: all or none."
  type        = bool
  default     = true
}

variable "nothing_arrived_hours" {
  description = "Raise an alarm if no file has arrived for this many hours: longer than suppliers are normally silent, including nights and holidays. 0 turns it off."
  type        = number
  default     = 0

  validation {
    condition     = var.nothing_arrived_hours >= 0 && var.nothing_arrived_hours <= 168 && floor(var.nothing_arrived_hours) == var.nothing_arrived_hours
    error_message = "nothing_arrived_hours must be 0 to 168: CloudWatch evaluates at most one week."
  }
}

variable "alarm_emails" {
  description = "Email addresses that receive alarms and the budget; each must be confirmed by the link in its first mail."
  type        = list(string)
  default     = []

  validation {
    condition     = !var.monitoring || length(var.alarm_emails) + length(var.alarm_urls) > 0
    error_message = "Alarms have no recipient: set alarm_emails or alarm_urls, such as TF_VAR_alarm_emails='[\"oncall@example.com\"]', or monitoring = false."
  }
}

variable "alarm_urls" {
  description = "HTTPS URLs that alarms and the budget are posted to, such as a pager's; each must confirm the subscription of SNS."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for url in var.alarm_urls : startswith(url, "https://")])
    error_message = "Each URL in alarm_urls must begin with https://."
  }
}

variable "notification_emails" {
  description = "Email addresses that receive the outcome of every batch; each must be confirmed."
  type        = list(string)
  default     = []
}

variable "monthly_budget_usd" {
  description = "Raise an alarm when this environment costs more than 80 % of this amount in a month, in US dollars; 0 turns the budget off. It counts by the tag Environment, once that is activated for cost allocation."
  type        = number
  default     = 0
}

variable "log_days" {
  description = "Days for which logs are kept."
  type        = number
  default     = 365
}

variable "alarm_thresholds" {
  description = "Thresholds of alarms by their short names; the units are in alarms_*.tf."
  type        = map(number)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.alarm_thresholds) : contains(keys(merge(local.workflow_alarms, local.api_alarms, local.database_alarms)), name)])
    error_message = "alarm_thresholds names an unknown alarm: see alarms_*.tf for the names."
  }
}
