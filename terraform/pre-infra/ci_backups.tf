# What Terraform needs to have the database's backups copied to another region (backup_region). With ci_terraform.tf.

locals {
  ci_backups = {
    for name in local.ci_environments : name => [
      {
        Sid    = "Backups" # here and in backup_region; plans have ids that are made up
        Effect = "Allow"
        Action = ["backup:*"]
        Resource = concat(
          ["arn:${local.partition}:backup:${var.region}:${local.account}:backup-plan:*"],
          [for prefix in local.ci_named[name] : "arn:${local.partition}:backup:*:${local.account}:backup-vault:${prefix}"],
        )
      },
      {
        Sid      = "BackupStorage" # knows no resources
        Effect   = "Allow"
        Action   = "backup-storage:MountCapsule"
        Resource = "*"
      },
      {
        Sid    = "Replicas" # of an instance's automated backups, in backup_region
        Effect = "Allow"
        Action = ["rds:*DBInstanceAutomatedBackup*"]
        Resource = concat(
          ["arn:${local.partition}:rds:*:${local.account}:auto-backup:*"],
          [for prefix in local.ci_named[name] : "arn:${local.partition}:rds:*:${local.account}:db:${prefix}"],
        )
      },
    ]
  }
}
