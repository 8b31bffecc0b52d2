# One small RDS instance instead of Aurora.

resource "aws_db_parameter_group" "main" {
  count = var.aurora ? 0 : 1

  name_prefix = "${local.name}-"
  family      = "postgres${var.database_version}"
  description = "ratesflow ${local.environment}"

  dynamic "parameter" {
    for_each = local.database_parameters

    content {
      name         = parameter.key
      value        = parameter.value.value
      apply_method = parameter.value.method
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_db_instance" "main" {
  #checkov:skip=CKV2_AWS_69:rds.force_ssl is in local.database_parameters, which the check does not resolve; one of our tests checks it.
  count = var.aurora ? 0 : 1

  identifier     = local.name
  engine         = "postgres"
  engine_version = var.database_version
  instance_class = var.rds_instance_class
  db_name        = local.database_name
  port           = local.database_port
  multi_az       = var.rds_multi_az

  username                      = local.owner_name
  manage_master_user_password   = true
  master_user_secret_kms_key_id = aws_kms_key.main.key_id

  db_subnet_group_name   = aws_db_subnet_group.main.name
  vpc_security_group_ids = [aws_security_group.database.id]
  parameter_group_name   = aws_db_parameter_group.main[0].name
  publicly_accessible    = false

  storage_type                        = "gp3"
  allocated_storage                   = var.rds_storage_gib
  max_allocated_storage               = 5 * var.rds_storage_gib
  storage_encrypted                   = true
  kms_key_id                          = aws_kms_key.main.arn
  iam_database_authentication_enabled = true

  backup_retention_period    = var.backup_days
  backup_window              = "01:00-02:00"
  maintenance_window         = "sun:02:30-sun:03:30"
  auto_minor_version_upgrade = true
  copy_tags_to_snapshot      = true
  deletion_protection        = var.deletion_protection
  skip_final_snapshot        = !var.deletion_protection
  final_snapshot_identifier  = "${local.name}-final"

  apply_immediately           = local.apply_immediately
  allow_major_version_upgrade = var.allow_major_version_upgrade

  enabled_cloudwatch_logs_exports       = local.database_logs
  performance_insights_enabled          = local.insights
  performance_insights_retention_period = 7
  performance_insights_kms_key_id       = aws_kms_key.main.arn
  monitoring_interval                   = var.monitoring ? 60 : 0
  monitoring_role_arn                   = one(aws_iam_role.rds_monitoring[*].arn)

  lifecycle {
    # Another key would require another database: an existing one keeps the key that it was created with.
    ignore_changes = [kms_key_id, performance_insights_kms_key_id]

    postcondition {
      condition     = lookup(local.version_may_follow, split(".", self.engine_version_actual)[0], true)
      error_message = "The database runs PostgreSQL ${self.engine_version_actual}. database_version = ${var.database_version} needs allow_major_version_upgrade = true. A downgrade is not possible. See docs/operations.md, \"A new major version of PostgreSQL\"."
    }
  }

  depends_on = [aws_cloudwatch_log_group.database, terraform_data.database]
}
