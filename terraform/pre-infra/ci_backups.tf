# Permissions of Terraform for copying the database's backups to another region (backup_region); see also ci_terraform.tf.

locals {
  ci_backups = {
    for name in local.ci_environments : name => [
      {
        Sid    = "Backups" # here and in backup_region; the IDs of plans are generated
        Effect = "Allow"
        Action = ["backup:*"]
        Resource = concat(
          ["arn:${local.partition}:backup:${var.region}:${local.account}:backup-plan:*"],
          [for prefix in local.ci_named[name] : "arn:${local.partition}:backup:*:${local.account}:backup-vault:${prefix}"],
        )
      },
      {
        Sid      = "BackupStorage" # does not support resources
        Effect   = "Allow"
        Action   = "backup-storage:MountCapsule"
        Resource = "*"
      },
      {
        Sid    = "Replicas" # the automated backups of an instance, in backup_region
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
