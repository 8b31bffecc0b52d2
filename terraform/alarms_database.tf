# Alarms of the database: CPU, connections, storage, lag, I/O. A metric of a cluster covers all its instances: its maximum
# and minimum are those of a single instance, but its average hides a busy writer behind idle readers.

locals {
  by_database = var.aurora ? { DBClusterIdentifier = local.name } : { DBInstanceIdentifier = local.name }
  by_writer   = merge(local.by_database, var.aurora ? { Role = "WRITER" } : {})
  by_readers  = merge(local.by_database, { Role = "READER" })
  gib         = 1024 * 1024 * 1024

  database_alarms = {
    database-cpu = {
      summary   = "the CPU of the writer was above 85 % for 15 minutes (percent)."
      threshold = 85
      periods   = 3
      metrics = {
        cpu = { namespace = "AWS/RDS", name = "CPUUtilization", dimensions = local.by_writer, stat = "Average" }
      }
    }
    readers-cpu = {
      # In each of the 15 minutes, the busiest reader.
      summary   = "the CPU of a reader was above 85 % for 15 minutes (percent)."
      threshold = 85
      periods   = 15
      seconds   = 60
      when      = var.aurora && var.aurora_readers > 0
      metrics = {
        cpu = { namespace = "AWS/RDS", name = "CPUUtilization", dimensions = local.by_readers, stat = "Maximum" }
      }
    }
    database-capacity = {
      summary   = "Aurora has used more than 90 % of aurora_maximum_capacity for 15 minutes (percent)."
      threshold = 90
      periods   = 3
      when      = var.aurora
      metrics = {
        used = { namespace = "AWS/RDS", name = "ACUUtilization", dimensions = local.by_database, stat = "Maximum" }
      }
    }
    database-connections = {
      # PostgreSQL on RDS allows one per 9.5 MB of memory, up to 5000; a db.t4g.micro about 100.
      summary   = "more connections than expected: compare with the API's tasks × workers × 9."
      threshold = var.aurora ? 800 : 70
      metrics = {
        connections = { namespace = "AWS/RDS", name = "DatabaseConnections", dimensions = local.by_database, stat = "Maximum" }
      }
    }
    database-storage = {
      # Aurora's storage grows automatically, and so does its bill; an instance's grows to five times its initial size.
      summary    = var.aurora ? "the database has grown beyond 500 GiB (bytes)." : "less than 10 % of the instance's initial storage is free (bytes)."
      threshold  = var.aurora ? 500 * local.gib : var.rds_storage_gib * local.gib / 10
      comparison = var.aurora ? "GreaterThanThreshold" : "LessThanThreshold"
      metrics = {
        bytes = { namespace = "AWS/RDS", name = var.aurora ? "VolumeBytesUsed" : "FreeStorageSpace", dimensions = local.by_database, stat = var.aurora ? "Maximum" : "Minimum" }
      }
    }
    database-memory = {
      summary    = "less than 64 MiB of memory are free (bytes)."
      threshold  = 64 * 1024 * 1024
      comparison = "LessThanThreshold"
      periods    = 3
      metrics = {
        free = { namespace = "AWS/RDS", name = "FreeableMemory", dimensions = local.by_database, stat = "Minimum" }
      }
    }
    replica-lag = {
      summary   = "a reader is more than two seconds behind the writer (milliseconds)."
      threshold = 2000
      periods   = 3
      seconds   = 60
      when      = var.aurora && var.aurora_readers > 0
      metrics = {
        lag = { namespace = "AWS/RDS", name = "AuroraReplicaLagMaximum", dimensions = local.by_database, stat = "Maximum" }
      }
    }
    database-iops = {
      # Aurora counts operations per five minutes, and bills each; gp3 gives an instance 3000 per second.
      summary   = var.aurora ? "more than 3 million reads and writes of storage in five minutes." : "more than 2500 reads and writes of storage per second."
      threshold = var.aurora ? 3000000 : 2500
      periods   = 3
      metrics = {
        reads  = { namespace = "AWS/RDS", name = var.aurora ? "VolumeReadIOPs" : "ReadIOPS", dimensions = local.by_database, stat = "Average" }
        writes = { namespace = "AWS/RDS", name = var.aurora ? "VolumeWriteIOPs" : "WriteIOPS", dimensions = local.by_database, stat = "Average" }
      }
      expression = "FILL(reads, 0) + FILL(writes, 0)"
    }
  }
}
