# PostgreSQL: what both kinds share. aurora.tf and rds.tf define the kinds; the variable aurora selects one.

locals {
  database_port = 5432
  database_name = "ratesflow"
  owner_name    = "ratesflow_admin"

  writer_host = var.aurora ? aws_rds_cluster.main[0].endpoint : aws_db_instance.main[0].address
  # The reader endpoint leads to the writer if there is no reader.
  reader_host      = var.aurora ? aws_rds_cluster.main[0].reader_endpoint : aws_db_instance.main[0].address
  owner_secret_arn = var.aurora ? aws_rds_cluster.main[0].master_user_secret[0].secret_arn : aws_db_instance.main[0].master_user_secret[0].secret_arn

  database_kind = var.aurora ? "aurora" : "rds"
  database_logs = var.aurora ? ["postgresql"] : ["postgresql", "upgrade"]

  # True if nothing may poll, so that the database can pause.
  pausing = var.aurora && var.aurora_minimum_capacity == 0

  # Whether database_version may replace the running major version: always the same one, a newer one if that is allowed, never an
  # older one.
  version_may_follow = {
    for running in ["16", "18"] : running =>
    running == var.database_version || var.allow_major_version_upgrade && tonumber(running) < tonumber(var.database_version)
  }

  # By default, changes are made at once; with deletion_protection they wait for the maintenance window.
  apply_immediately = coalesce(var.apply_immediately, !var.deletion_protection)

  # Performance Insights uses memory: AWS recommends at least two capacity units with it (Aurora User Guide, "Choosing the
  # minimum Aurora Serverless v2 capacity setting for a cluster").
  insights = !var.aurora || var.aurora_minimum_capacity >= 2

  # Rotation runs CREATE ROLE and ALTER USER with the password in clear text, so nothing may log the text of such a statement:
  # not log_statement, not log_min_duration_statement if it is slow, not log_min_error_statement if it fails. pgaudit logs
  # changes of tables and roles without passwords (Amazon RDS User Guide, "Using pgAudit to log database activity").
  # auto_explain logs slow statements: only queries, never commands about roles.
  immediate_parameters = {
    "log_statement"                 = "none"
    "log_min_duration_statement"    = "-1"
    "log_min_error_statement"       = "panic"
    "pgaudit.log"                   = "ddl,role"
    "auto_explain.log_min_duration" = "1000"
    # A forgotten transaction prevents the cleanup of dead rows in rates.
    "idle_in_transaction_session_timeout" = "600000"
  }
  # These settings take effect after a restart. rds.force_ssl does not need one, but is reported as if it did where it is the
  # default, and would otherwise appear in every plan (terraform-provider-aws#39252).
  restart_parameters = {
    "rds.force_ssl"            = "1"
    "shared_preload_libraries" = "pg_stat_statements,pgaudit,auto_explain"
  }
  database_parameters = merge(
    { for name, value in local.immediate_parameters : name => { value = value, method = "immediate" } },
    { for name, value in local.restart_parameters : name => { value = value, method = "pending-reboot" } },
  )
}

# The kind of the database is stored in the state when it is created, whatever the variable says later. Without this, a plan
# would delete the existing database to create the other kind. `-replace=terraform_data.database` declares that there is a new
# database from now on; it is given explicitly, for a single plan.
resource "terraform_data" "database" {
  input = local.database_kind

  lifecycle {
    ignore_changes = [input]

    postcondition {
      condition     = self.output == local.database_kind
      error_message = "This environment has a database of the kind \"${self.output}\"; aurora = ${var.aurora} would delete it with all its data. To keep the data, see docs/operations.md, \"Moving between Aurora and RDS\". If the data may be lost, plan with -replace=terraform_data.database."
    }
  }
}

resource "aws_db_subnet_group" "main" {
  name        = local.name
  description = "Private subnets of ${local.name}"
  subnet_ids  = aws_subnet.private[*].id
}

# Enhanced monitoring: metrics from the operating system of an instance.
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

# RDS would create these log groups, and keep them forever. Enhanced monitoring writes to RDSOSMetrics, one group for all
# databases of an account and region; RDS keeps its data for 30 days.
resource "aws_cloudwatch_log_group" "database" {
  for_each = toset(local.database_logs)

  name              = "/aws/rds/${var.aurora ? "cluster" : "instance"}/${local.name}/${each.key}"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.main.arn
}
