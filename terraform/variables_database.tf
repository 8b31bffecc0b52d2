# The database.

variable "aurora" {
  description = "Aurora PostgreSQL Serverless v2 with a writer and readers; false creates one small RDS instance instead."
  type        = bool
  default     = true
}

variable "aurora_minimum_capacity" {
  description = "Minimum Aurora capacity units of each instance. From 2 on Performance Insights is on, which uses memory. 0 lets the database pause, which works only if nothing polls: then also lengthen gc_schedule and compact_schedule."
  type        = number
  default     = 1

  validation {
    condition     = var.aurora_minimum_capacity >= 0 && var.aurora_minimum_capacity <= 256
    error_message = "aurora_minimum_capacity must be 0 to 256."
  }
}

variable "aurora_maximum_capacity" {
  description = "Maximum Aurora capacity units of each instance."
  type        = number
  default     = 32

  validation {
    condition     = var.aurora_maximum_capacity >= max(1, var.aurora_minimum_capacity) && var.aurora_maximum_capacity <= 256
    error_message = "aurora_maximum_capacity must be 1 to 256 and at least aurora_minimum_capacity."
  }
}

variable "aurora_readers" {
  description = "Number of Aurora readers, which the API reads from; without one it reads from the writer."
  type        = number
  default     = 2

  validation {
    condition     = var.aurora_readers >= 0 && var.aurora_readers <= 15
    error_message = "aurora_readers must be 0 to 15."
  }
}

variable "aurora_maximum_readers" {
  description = "Maximum number of Aurora readers: above aurora_readers they are added and removed by the CPU of the readers; null keeps the number fixed."
  type        = number
  default     = null

  validation {
    condition     = var.aurora_maximum_readers == null || try(var.aurora_maximum_readers >= var.aurora_readers && var.aurora_readers > 0 && var.aurora_maximum_readers <= 15, false)
    error_message = "aurora_maximum_readers must be between aurora_readers and 15, and aurora_readers at least 1."
  }
}

variable "apply_immediately" {
  description = "Change the database at once, even if that restarts it; false waits for Sunday, 02:30 UTC; null waits only with deletion_protection."
  type        = bool
  default     = null
}

variable "allow_major_version_upgrade" {
  description = "Allow a newer database_version to upgrade the database, which stops it for minutes; set it for that single apply."
  type        = bool
  default     = false

  validation {
    condition     = !var.allow_major_version_upgrade || local.apply_immediately
    error_message = "allow_major_version_upgrade needs apply_immediately = true: the same apply deletes the parameter group of the old version, which fails while the upgrade waits."
  }
}

variable "database_version" {
  description = "Major version of PostgreSQL that the tests cover. A newer one needs allow_major_version_upgrade."
  type        = string
  default     = "16"

  validation {
    condition     = contains(["16", "18"], var.database_version)
    error_message = "database_version must be 16 or 18, the versions that the tests cover."
  }
}

variable "database_ca_file" {
  description = "Path of the file of RDS CA certificates in both images; with it the server's certificate is verified."
  type        = string
  default     = null
}

variable "rds_instance_class" {
  description = "Instance class, without Aurora."
  type        = string
  default     = "db.t4g.micro"
}

variable "rds_storage_gib" {
  description = "Storage in GiB, without Aurora; it grows automatically to five times this size."
  type        = number
  default     = 20
}

variable "rds_multi_az" {
  description = "Keep a standby in another zone, without Aurora."
  type        = bool
  default     = true
}

variable "backup_days" {
  description = "Days for which the database can be restored to any second: 1 to 35."
  type        = number
  default     = 14
}

variable "backup_region" {
  description = "Another region to which the database's backups are copied, against the loss of this one; null copies nothing."
  type        = string
  default     = null

  validation {
    condition     = var.backup_region != var.region
    error_message = "backup_region must differ from region."
  }
}
