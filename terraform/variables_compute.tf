# Where tasks run, how large they are, and how files are shared out among them.

variable "compute" {
  description = "Where Batch runs tasks: fargate, fargate-spot (with On-Demand behind it), ec2 or ec2-spot. What is under way ends where it began; EC2 needs ec2_queue too."
  type        = string
  default     = "fargate"

  validation {
    condition     = contains(["fargate", "fargate-spot", "ec2", "ec2-spot"], var.compute)
    error_message = "compute must be fargate, fargate-spot, ec2 or ec2-spot."
  }
}

variable "ec2_queue" {
  description = "The queue of EC2, with what its instances need: true before compute names EC2, and after it no longer does until nothing waits or runs there."
  type        = bool
  default     = false

  validation {
    condition     = var.ec2_queue || !startswith(var.compute, "ec2")
    error_message = "compute = \"ec2\" and \"ec2-spot\" need ec2_queue = true. Leave it true after compute has left EC2, until `aws batch list-jobs` shows no job of that queue and no execution is left that began on it."
  }
}

variable "maximum_vcpus" {
  description = "vCPUs that all tasks together may take, Spot and On-Demand together."
  type        = number
  default     = 64

  validation {
    condition     = var.maximum_vcpus >= 2 * local.largest_task
    error_message = "maximum_vcpus must hold two of the largest task, such as 2: one on Spot, one behind it."
  }
}

# Batch can also keep an instance for some time after its last job (scaling policy, minimum scale-down delay); provider
# 6.69 has no word for it yet.
variable "minimum_vcpus" {
  description = "vCPUs of EC2 that are kept running and paid for, so that tasks start within seconds; with ec2-spot they are Spot's."
  type        = number
  default     = 0

  validation {
    condition     = var.minimum_vcpus == 0 || startswith(var.compute, "ec2")
    error_message = "Fargate keeps nothing running: minimum_vcpus needs compute = \"ec2\" or \"ec2-spot\"."
  }

  validation {
    condition     = var.minimum_vcpus >= 0 && var.minimum_vcpus <= local.ceilings[local.first_of_all]
    error_message = "minimum_vcpus must be 0 at least and not above maximum_vcpus; with ec2-spot, not above Spot's three quarters of it."
  }
}

variable "instance_types" {
  description = "Instance types or families for ec2 and ec2-spot; a GPU comes with one that has it, such as g6."
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
    error_message = "Only ec2 and ec2-spot have GPUs: set compute to one of them."
  }

  validation {
    condition     = alltrue([for size in values(var.task_sizes) : size.vcpus <= 16 && size.memory <= 122880]) || startswith(var.compute, "ec2")
    error_message = "Fargate has 16 vCPUs and 122880 MiB at most: set compute to ec2 or ec2-spot for more."
  }

  validation {
    condition     = alltrue([for task in keys(var.task_sizes) : contains(keys(local.jobs), task)])
    error_message = "task_sizes names a task that loader/tasks/ does not have."
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

variable "task_environment" {
  description = "Further settings of the tasks: see loader/files/limits.py and loader/tasks/gc.py."
  type        = map(string)
  default     = {}
}
