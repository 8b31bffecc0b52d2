# The API.

variable "api_minimum_tasks" {
  description = "Tasks of the API at least."
  type        = number
  default     = 3
}

variable "api_maximum_tasks" {
  description = "Tasks of the API at most."
  type        = number
  default     = 12

  validation {
    condition     = var.api_maximum_tasks >= var.api_minimum_tasks
    error_message = "api_maximum_tasks must not be below api_minimum_tasks."
  }
}

variable "api_spot" {
  description = "Run the API on Fargate Spot, which may be taken away with two minutes' notice."
  type        = bool
  default     = false
}

variable "certificate_arn" {
  description = "ACM certificate of the API; with it HTTPS is served and HTTP redirected, without it there is HTTP alone."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn != null || var.plain_http || !var.deletion_protection
    error_message = "An environment that is kept (deletion_protection) is served by HTTPS: set certificate_arn and api_domain, such as TF_VAR_certificate_arn=arn:aws:acm:…; plain_http = true does without."
  }
}

variable "plain_http" {
  description = "Serve HTTP without TLS although deletion_protection is on: only behind something else that speaks HTTPS."
  type        = bool
  default     = false
}

variable "api_domain" {
  description = "Name for which the certificate holds and which points to the load balancer."
  type        = string
  default     = null

  validation {
    condition     = (var.certificate_arn == null) == (var.api_domain == null)
    error_message = "certificate_arn and api_domain go together: clients check one against the other."
  }
}

variable "api_allowed_cidrs" {
  description = "Who may reach the load balancer."
  type        = list(string)
  default     = ["0.0.0.0/0"]
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
  description = "Further settings of the API: see api/server/wsgi.py."
  type        = map(string)
  default     = {}
}
