# Aurora PostgreSQL Serverless v2: a writer, and readers in other zones, any of which takes over within a minute.

resource "aws_rds_cluster_parameter_group" "main" {
  count = var.aurora ? 1 : 0

  name_prefix = "${local.name}-"
  family      = "aurora-postgresql${var.database_version}"
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

resource "aws_rds_cluster" "main" {
  #checkov:skip=CKV2_AWS_27:The check asks for log_statement, which would log the passwords that rotation sets; pgaudit logs instead.
  #checkov:skip=CKV2_AWS_8:Its own backups restore to any second of backup_days; a second backup plan would store the same twice.
  count = var.aurora ? 1 : 0

  cluster_identifier = local.name
  engine             = "aurora-postgresql"
  engine_mode        = "provisioned"
  engine_version     = var.database_version
  database_name      = local.database_name
  port               = local.database_port

  master_username               = local.owner_name
  manage_master_user_password   = true
  master_user_secret_kms_key_id = aws_kms_key.main.key_id

  db_subnet_group_name            = aws_db_subnet_group.main.name
  vpc_security_group_ids          = [aws_security_group.database.id]
  db_cluster_parameter_group_name = aws_rds_cluster_parameter_group.main[0].name

  storage_encrypted                   = true
  kms_key_id                          = aws_kms_key.main.arn
  iam_database_authentication_enabled = true

  backup_retention_period      = var.backup_days
  preferred_backup_window      = "01:00-02:00"
  preferred_maintenance_window = "sun:02:30-sun:03:30"
  copy_tags_to_snapshot        = true
  deletion_protection          = var.deletion_protection
  skip_final_snapshot          = !var.deletion_protection
  final_snapshot_identifier    = "${local.name}-final"

  apply_immediately           = local.apply_immediately
  allow_major_version_upgrade = var.allow_major_version_upgrade

  enabled_cloudwatch_logs_exports = local.database_logs

  serverlessv2_scaling_configuration {
    min_capacity             = var.aurora_minimum_capacity
    max_capacity             = var.aurora_maximum_capacity
    seconds_until_auto_pause = local.pausing ? 600 : null
  }

  lifecycle {
    # Another key would require another database: an existing one keeps the key that it was created with.
    ignore_changes = [kms_key_id]

    postcondition {
      condition     = lookup(local.version_may_follow, split(".", self.engine_version_actual)[0], true)
      error_message = "The database runs PostgreSQL ${self.engine_version_actual}. database_version = ${var.database_version} needs allow_major_version_upgrade = true. A downgrade is not possible. See docs/operations.md, \"A new major version of PostgreSQL\"."
    }
  }

  depends_on = [aws_cloudwatch_log_group.database, terraform_data.database]
}

resource "aws_rds_cluster_instance" "main" {
  #checkov:skip=CKV_AWS_353:Performance Insights is on from two capacity units, as AWS recommends: below, it takes memory from the database.
  count = var.aurora ? 1 + var.aurora_readers : 0

  identifier         = "${local.name}-${count.index}"
  cluster_identifier = aws_rds_cluster.main[0].id
  engine             = aws_rds_cluster.main[0].engine
  engine_version     = aws_rds_cluster.main[0].engine_version
  instance_class     = "db.serverless"
  availability_zone  = local.zones[count.index % var.zones]
  # The first reader scales with the writer, so that it can take over; the others scale with their own load.
  promotion_tier = count.index < 2 ? 0 : 2

  publicly_accessible          = false
  auto_minor_version_upgrade   = true
  apply_immediately            = local.apply_immediately
  copy_tags_to_snapshot        = true
  performance_insights_enabled = local.insights
  # Seven days of it are free.
  performance_insights_retention_period = local.insights ? 7 : null
  performance_insights_kms_key_id       = local.insights ? aws_kms_key.main.arn : null
  monitoring_interval                   = var.monitoring ? 60 : 0
  monitoring_role_arn                   = one(aws_iam_role.rds_monitoring[*].arn)

  lifecycle {
    # An instance stays in the zone in which it was created. Otherwise a change of `zones` would delete instances, possibly the
    # writer, and create them elsewhere.
    ignore_changes = [availability_zone, performance_insights_kms_key_id]

    postcondition {
      condition     = contains(local.zones, self.availability_zone)
      error_message = "${self.identifier} is in ${self.availability_zone}, which zones = ${var.zones} would remove. Move it first: see docs/operations.md, \"Fewer zones\"."
    }
  }
}
