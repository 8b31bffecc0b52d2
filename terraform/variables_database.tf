# The database.

variable "aurora" {
  description = "Aurora PostgreSQL Serverless v2 with a writer and readers; false makes one small RDS instance instead."
  type        = bool
  default     = true
}

variable "aurora_minimum_capacity" {
  description = "Aurora capacity units that each instance keeps. From 2 on there is Performance Insights, which takes memory. 0 lets it pause, which works only where nothing polls: make gc_schedule and compact_schedule rare too."
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

variable "aurora_maximum_readers" {
  description = "Aurora readers that there may be at most: beyond aurora_readers they come and go with the readers' processors; null keeps the number fixed."
  type        = number
  default     = null

  validation {
    condition     = var.aurora_maximum_readers == null || try(var.aurora_maximum_readers >= var.aurora_readers && var.aurora_readers > 0 && var.aurora_maximum_readers <= 15, false)
    error_message = "aurora_maximum_readers must be aurora_readers to 15, and aurora_readers 1 at least."
  }
}

variable "apply_immediately" {
  description = "Change the database at once, even if that restarts it; false waits for Sunday, 02:30 UTC; null waits only with deletion_protection."
  type        = bool
  default     = null
}

variable "allow_major_version_upgrade" {
  description = "Let a newer database_version upgrade the database, which stops it for minutes; set it for that one apply."
  type        = bool
  default     = false

  validation {
    condition     = !var.allow_major_version_upgrade || local.apply_immediately
    error_message = "allow_major_version_upgrade needs apply_immediately = true: the parameters of the old version are deleted in the same apply, which fails while the upgrade waits."
  }
}

variable "database_version" {
  description = "Major version of PostgreSQL: one that the tests run on. A newer one needs allow_major_version_upgrade."
  type        = string
  default     = "16"

  validation {
    condition     = contains(["16", "18"], var.database_version)
    error_message = "database_version must be 16 or 18, which the tests run on."
  }
}

variable "database_ca_file" {
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

variable "backup_region" {
  description = "Another region that the database's backups are copied to, against the loss of this one; null copies nothing."
  type        = string
  default     = null

  validation {
    condition     = var.backup_region != var.region
    error_message = "backup_region must be another region than region."
  }
}
