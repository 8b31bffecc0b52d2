# Copies of the database's backups in another region, from which a new environment can be created there. An instance copies its
# snapshots and its log, so any second can be restored. Aurora does not support that; AWS Backup copies one snapshot per day.

locals {
  copying        = var.backup_region != null
  copying_aurora = local.copying && var.aurora
}

# A backup is encrypted again at its destination: a key belongs to one region.
resource "aws_kms_key" "backup" {
  count = local.copying ? 1 : 0

  region                  = var.backup_region
  description             = "ratesflow ${local.environment}, copies of backups"
  enable_key_rotation     = true
  deletion_window_in_days = var.deletion_protection ? 30 : 7

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Account" # the policies of the account's roles restrict who may do what with it
      Effect    = "Allow"
      Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
      Action    = "kms:*"
      Resource  = "*"
    }]
  })
}

resource "aws_db_instance_automated_backups_replication" "main" {
  count = local.copying && !var.aurora ? 1 : 0

  region                 = var.backup_region
  source_db_instance_arn = aws_db_instance.main[0].arn
  kms_key_id             = aws_kms_key.backup[0].arn
  retention_period       = var.backup_days
}

resource "aws_backup_vault" "here" {
  count = local.copying_aurora ? 1 : 0

  name          = local.name
  kms_key_arn   = aws_kms_key.main.arn
  force_destroy = !var.deletion_protection
}

resource "aws_backup_vault" "there" {
  count = local.copying_aurora ? 1 : 0

  region        = var.backup_region
  name          = "${local.global_name}-copies"
  kms_key_arn   = aws_kms_key.backup[0].arn
  force_destroy = !var.deletion_protection
}

resource "aws_backup_plan" "main" {
  count = local.copying_aurora ? 1 : 0

  name = local.name

  rule {
    rule_name         = "copies"
    target_vault_name = aws_backup_vault.here[0].name
    schedule          = "cron(0 3 * * ? *)"

    # In this region the cluster's own backups restore any second; this backup is kept only until it has been copied.
    lifecycle {
      delete_after                              = 3
      opt_in_to_archive_for_supported_resources = false # set explicitly, so that plans find no difference
    }

    copy_action {
      destination_vault_arn = aws_backup_vault.there[0].arn

      lifecycle {
        delete_after                              = var.backup_days
        opt_in_to_archive_for_supported_resources = false
      }
    }
  }
}

resource "aws_iam_role" "backup" {
  count = local.copying_aurora ? 1 : 0

  name = "${local.global_name}-backup"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "backup.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "backup" {
  count = local.copying_aurora ? 1 : 0

  role       = aws_iam_role.backup[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup"
}

resource "aws_backup_selection" "main" {
  count = local.copying_aurora ? 1 : 0

  name         = local.name
  plan_id      = aws_backup_plan.main[0].id
  iam_role_arn = aws_iam_role.backup[0].arn
  resources    = [aws_rds_cluster.main[0].arn]
}
