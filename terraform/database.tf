# PostgreSQL: what both kinds share. The kinds are in aurora.tf and rds.tf; one switch chooses.

locals {
  database_port = 5432
  database_name = "ratesflow"
  owner_name    = "ratesflow_admin"

  writer_host = var.aurora ? aws_rds_cluster.main[0].endpoint : aws_db_instance.main[0].address
  # The readers' address leads to the writer where there is no reader.
  reader_host      = var.aurora ? aws_rds_cluster.main[0].reader_endpoint : aws_db_instance.main[0].address
  owner_secret_arn = var.aurora ? aws_rds_cluster.main[0].master_user_secret[0].secret_arn : aws_db_instance.main[0].master_user_secret[0].secret_arn

  # Where nothing may poll, since the database is to pause.
  pausing = var.aurora && var.aurora_minimum_capacity == 0

  # All take effect without a restart, but for the preloaded library, which is the default of both kinds.
  database_parameters = {
    "rds.force_ssl"              = "1"
    "log_statement"              = "ddl"
    "log_min_duration_statement" = "1000"
    # Whoever forgets a transaction holds back the clean-up of all rates.
    "idle_in_transaction_session_timeout" = "600000"
  }
}

resource "aws_db_subnet_group" "main" {
  name        = local.name
  description = "Private subnets of ${local.name}"
  subnet_ids  = aws_subnet.private[*].id
}

# Enhanced monitoring: what the operating system of an instance does.
resource "aws_iam_role" "rds_monitoring" {
  count = var.monitoring ? 1 : 0

  name = "${local.global_name}-rds-monitoring"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "monitoring.rds.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "rds_monitoring" {
  count = var.monitoring ? 1 : 0

  role       = aws_iam_role.rds_monitoring[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}

# RDS would make it by itself, and keep it for ever.
resource "aws_cloudwatch_log_group" "database" {
  name              = "/aws/rds/${var.aurora ? "cluster" : "instance"}/${local.name}/postgresql"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.main.arn
}
