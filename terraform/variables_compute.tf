# Where tasks run, their sizes, and how files are split among them.

variable "compute" {
  description = "Where Batch runs tasks: fargate, fargate-spot (with On-Demand behind it), ec2 or ec2-spot. Running jobs finish where they began. EC2 also needs ec2_queue."
  type        = string
  default     = "fargate"

  validation {
    condition     = contains(["fargate", "fargate-spot", "ec2", "ec2-spot"], var.compute)
    error_message = "compute must be fargate, fargate-spot, ec2 or ec2-spot."
  }
}

variable "ec2_queue" {
  description = "The EC2 queue and what its instances need. Set it to true before compute is ec2, and leave it true afterwards until no job waits or runs there."
  type        = bool
  default     = false

  validation {
    condition     = var.ec2_queue || !startswith(var.compute, "ec2")
    error_message = "compute = \"ec2\" and \"ec2-spot\" need ec2_queue = true. After compute has left EC2, leave it true until `aws batch list-jobs` shows no jobs in that queue and no execution is left that began on it."
  }
}

variable "maximum_vcpus" {
  description = "Maximum vCPUs of all tasks together, Spot and On-Demand."
  type        = number
  default     = 64

  validation {
    condition     = var.maximum_vcpus >= 2 * local.largest_task
    error_message = "maximum_vcpus must be at least twice the largest task, such as 2: one on Spot, one On-Demand."
  }
}

# Batch can also keep an instance for some time after its last job (scaling policy, minimum scale-down delay); version 6.69 of
# the provider does not support it yet.
variable "minimum_vcpus" {
  description = "vCPUs of EC2 that are always running and billed, so that tasks start within seconds; with ec2-spot they are Spot capacity."
  type        = number
  default     = 0

  validation {
    condition     = var.minimum_vcpus == 0 || startswith(var.compute, "ec2")
    error_message = "minimum_vcpus needs compute = \"ec2\" or \"ec2-spot\": Fargate keeps no capacity running."
  }

  validation {
    condition     = var.minimum_vcpus >= 0 && var.minimum_vcpus <= local.ceilings[local.first_of_all]
    error_message = "minimum_vcpus must be between 0 and maximum_vcpus; with ec2-spot, at most three quarters of maximum_vcpus, which is Spot's share."
  }
}

variable "instance_types" {
  description = "Instance types or families for ec2 and ec2-spot; for GPUs choose one that has them, such as g6."
  type        = list(string)
  default     = ["m7i", "r7i", "c7i"]
}

variable "task_sizes" {
  description = "Sizes that replace those of loader/tasks/, by task: vCPUs, memory in MiB and, on EC2, GPUs."
  type = map(object({
    vcpus  = number
    memory = number
    gpus   = optional(number, 0)
  }))
  default = {}

  validation {
    condition     = alltrue([for size in values(var.task_sizes) : size.gpus == 0]) || startswith(var.compute, "ec2")
    error_message = "GPUs need EC2: set compute to ec2 or ec2-spot."
  }

  validation {
    condition     = alltrue([for size in values(var.task_sizes) : size.vcpus <= 16 && size.memory <= 122880]) || startswith(var.compute, "ec2")
    error_message = "Fargate has at most 16 vCPUs and 122880 MiB: for more set compute to ec2 or ec2-spot."
  }

  validation {
    condition     = alltrue([for task in keys(var.task_sizes) : contains(keys(local.jobs), task)])
    error_message = "task_sizes names a task that loader/tasks/ does not have."
  }
}

variable "scratch_gib" {
  description = "Ephemeral storage of a task, in GiB, for lists of rejected lines and spilled sums: 21 to 200."
  type        = number
  default     = 30

  validation {
    condition     = var.scratch_gib >= 21 && var.scratch_gib <= 200
    error_message = "scratch_gib must be 21 to 200, the range of Fargate."
  }
}

variable "shard_bytes" {
  description = "Files larger than this are split into shards of this many bytes, unless the name ends in .gz or .gzip; 0 turns splitting off."
  type        = number
  default     = 268435456
}

variable "maximum_shards" {
  description = "Maximum number of shards per file."
  type        = number
  default     = 16

  validation {
    condition     = var.maximum_shards >= 1 && var.maximum_shards <= 10000
    error_message = "maximum_shards must be 1 to 10000, the largest array job of Batch."
  }
}

variable "task_environment" {
  description = "Further settings of the tasks: see docs/settings.md."
  type        = map(string)
  default     = {}
}
