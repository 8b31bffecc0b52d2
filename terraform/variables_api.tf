# The API.

variable "api_minimum_tasks" {
  description = "Minimum number of API tasks."
  type        = number
  default     = 3
}

variable "api_maximum_tasks" {
  description = "Maximum number of API tasks."
  type        = number
  default     = 12

  validation {
    condition     = var.api_maximum_tasks >= var.api_minimum_tasks
    error_message = "api_maximum_tasks must be at least api_minimum_tasks."
  }
}

variable "api_spot" {
  description = "Run the API on Fargate Spot, which AWS may reclaim with two minutes' notice."
  type        = bool
  default     = false
}

variable "certificate_arn" {
  description = "ACM certificate of the API. With it, HTTPS is served and HTTP redirected; without it, only HTTP is served."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn != null || var.plain_http || !var.deletion_protection
    error_message = "With deletion_protection the API must use HTTPS: set certificate_arn and api_domain, such as TF_VAR_certificate_arn=arn:aws:acm:…, or set plain_http = true to serve HTTP only."
  }
}

variable "plain_http" {
  description = "Serve HTTP without TLS although deletion_protection is on. Use it only behind another component that terminates HTTPS."
  type        = bool
  default     = false
}

variable "api_domain" {
  description = "Domain name of the certificate, which points to the load balancer."
  type        = string
  default     = null

  validation {
    condition     = (var.certificate_arn == null) == (var.api_domain == null)
    error_message = "Set certificate_arn and api_domain together: clients check the certificate against the domain."
  }
}

variable "api_allowed_cidrs" {
  description = "CIDR ranges that may reach the load balancer."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

variable "api_cpu" {
  description = "CPU units of an API task; 1024 are one vCPU."
  type        = number
  default     = 1024
}

variable "api_memory" {
  description = "Memory of an API task, in MiB."
  type        = number
  default     = 2048
}

variable "api_workers" {
  description = "Worker processes of an API task; each has up to nine database connections and a response cache of 64 MB."
  type        = number
  default     = 2
}

variable "api_requests_per_task" {
  description = "Requests per minute and task above which tasks are added."
  type        = number
  default     = 60000
}

variable "api_environment" {
  description = "Further settings of the API: see docs/settings.md."
  type        = map(string)
  default     = {}
}
