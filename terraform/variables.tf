# The switches of an environment. The defaults are those of production; environments/*.tfvars scale others down.

variable "region" {
  description = "AWS region of everything."
  type        = string
  default     = "eu-central-1"
}

variable "tags" {
  description = "Tags for everything, beside Project, Environment and ManagedBy."
  type        = map(string)
  default     = {}
}

variable "loader_image" {
  description = "Image of the loader, by digest: REPOSITORY@sha256:…"
  type        = string

  validation {
    condition     = can(regex("^[^@[:space:]]+@sha256:[0-9a-f]{64}$", var.loader_image))
    error_message = "loader_image must be pinned by its digest, as REPOSITORY@sha256:… with 64 hexadecimal digits; a tag can be moved."
  }
}

variable "api_image" {
  description = "Image of the API, by digest: REPOSITORY@sha256:…"
  type        = string

  validation {
    condition     = can(regex("^[^@[:space:]]+@sha256:[0-9a-f]{64}$", var.api_image))
    error_message = "api_image must be pinned by its digest, as REPOSITORY@sha256:… with 64 hexadecimal digits; a tag can be moved."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete the database, the load balancer and buckets that hold objects; keep secrets for 30 days after."
  type        = bool
  default     = true
}

# Network

variable "cidr" {
  description = "Addresses of the network: a /16."
  type        = string
  default     = "10.20.0.0/16"

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && endswith(var.cidr, "/16")
    error_message = "cidr must be a /16, such as 10.20.0.0/16."
  }
}

variable "zones" {
  description = "Availability zones that everything is spread over: 2 or 3."
  type        = number
  default     = 3

  validation {
    condition     = contains([2, 3], var.zones)
    error_message = "zones must be 2 or 3: the load balancer and the database need two."
  }
}

variable "nat_gateways" {
  description = "NAT gateways, through which tasks reach AWS in place of endpoints: 0 (interface endpoints instead), 1, or one a zone."
  type        = number
  default     = 0

  validation {
    condition     = contains([0, 1, var.zones], var.nat_gateways)
    error_message = "nat_gateways must be 0, 1 or as many as there are zones."
  }
}

# Where tasks run

variable "compute" {
  description = "Where Batch runs tasks: fargate, fargate-spot (with On-Demand behind it), ec2 or ec2-spot."
  type        = string
  default     = "fargate"

  validation {
    condition     = contains(["fargate", "fargate-spot", "ec2", "ec2-spot"], var.compute)
    error_message = "compute must be fargate, fargate-spot, ec2 or ec2-spot."
  }
}

variable "maximum_vcpus" {
  description = "vCPUs that all tasks together may take."
  type        = number
  default     = 64

  validation {
    condition     = var.maximum_vcpus >= 2
    error_message = "maximum_vcpus must be 2 at least: two of the larger tasks."
  }
}

variable "instance_types" {
  description = "Instance types or families for ec2 and ec2-spot; a GPU comes with one that has it, such as g6."
  type        = list(string)
  default     = ["m7i", "r7i", "c7i"]
}

variable "task_sizes" {
  description = "Sizes that replace those of workflow/jobs.py, by task: vCPUs, memory in MiB and, on EC2, GPUs."
  type = map(object({
    vcpus  = number
    memory = number
    gpus   = optional(number, 0)
  }))
  default = {}

  validation {
    condition     = alltrue([for size in values(var.task_sizes) : size.gpus == 0]) || startswith(var.compute, "ec2")
    error_message = "Only ec2 and ec2-spot have GPUs: set compute to one of them."
  }

  validation {
    condition     = alltrue([for size in values(var.task_sizes) : size.vcpus <= 16 && size.memory <= 122880]) || startswith(var.compute, "ec2")
    error_message = "Fargate has 16 vCPUs and 122880 MiB at most: set compute to ec2 or ec2-spot for more."
  }

  validation {
    condition     = alltrue([for task in keys(var.task_sizes) : contains(keys(local.jobs), task)])
    error_message = "task_sizes names a task that workflow/jobs.py does not have."
  }
}

variable "scratch_gib" {
  description = "Ephemeral storage of a task, in GiB, for the lists of refused lines and for counts that are set aside: 21 to 200."
  type        = number
  default     = 30

  validation {
    condition     = var.scratch_gib >= 21 && var.scratch_gib <= 200
    error_message = "scratch_gib must be 21 to 200, which is what Fargate has."
  }
}

variable "shard_bytes" {
  description = "A file larger than this is split into shards of that many bytes, unless its name ends in .gz or .gzip; 0 never splits."
  type        = number
  default     = 268435456
}

variable "maximum_shards" {
  description = "Shards of a file at most."
  type        = number
  default     = 16

  validation {
    condition     = var.maximum_shards >= 1 && var.maximum_shards <= 10000
    error_message = "maximum_shards must be 1 to 10000, the largest array job of Batch."
  }
}

# The database

variable "aurora" {
  description = "Aurora PostgreSQL Serverless v2 with a writer and readers; false makes one small RDS instance instead."
  type        = bool
  default     = true
}

variable "aurora_minimum_capacity" {
  description = "Aurora capacity units that each instance keeps; 0 lets it pause, which works only where nothing polls: make gc_schedule and compact_schedule rare too."
  type        = number
  default     = 1

  validation {
    condition     = var.aurora_minimum_capacity >= 0 && var.aurora_minimum_capacity <= 256
    error_message = "aurora_minimum_capacity must be 0 to 256."
  }
}

variable "aurora_maximum_capacity" {
  description = "Aurora capacity units that each instance may grow to."
  type        = number
  default     = 32

  validation {
    condition     = var.aurora_maximum_capacity >= max(1, var.aurora_minimum_capacity) && var.aurora_maximum_capacity <= 256
    error_message = "aurora_maximum_capacity must be 1 to 256 and not below aurora_minimum_capacity."
  }
}

variable "aurora_readers" {
  description = "Aurora readers, from which the API reads; without one it reads from the writer."
  type        = number
  default     = 2

  validation {
    condition     = var.aurora_readers >= 0 && var.aurora_readers <= 15
    error_message = "aurora_readers must be 0 to 15."
  }
}

# The API

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

# Watching

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

variable "rotation" {
  description = "Rotate the database passwords of loader and API by alternating users."
  type        = bool
  default     = true
}
