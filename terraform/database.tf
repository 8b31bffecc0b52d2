# PostgreSQL: what both kinds share. The kinds are in aurora.tf and rds.tf; one switch chooses.

locals {
  database_port = 5432
  database_name = "ratesflow"
  owner_name    = "ratesflow_admin"

  writer_host = var.aurora ? aws_rds_cluster.main[0].endpoint : aws_db_instance.main[0].address
  # The readers' address leads to the writer where there is no reader.
  reader_host      = var.aurora ? aws_rds_cluster.main[0].reader_endpoint : aws_db_instance.main[0].address
  owner_secret_arn = var.aurora ? aws_rds_cluster.main[0].master_user_secret[0].secret_arn : aws_db_instance.main[0].master_user_secret[0].secret_arn

  database_kind = var.aurora ? "aurora" : "rds"
  database_logs = var.aurora ? ["postgresql"] : ["postgresql", "upgrade"]

  # Where nothing may poll, since the database is to pause.
  pausing = var.aurora && var.aurora_minimum_capacity == 0

  # Whether database_version may follow the major version that runs: the same always, a newer one if that is allowed, an
  # older one never.
  version_may_follow = {
    for running in ["16", "18"] : running =>
    running == var.database_version || var.allow_major_version_upgrade && tonumber(running) < tonumber(var.database_version)
  }

  # Outside production a change is wanted now; in production it waits for the maintenance window, unless told otherwise.
  apply_immediately = coalesce(var.apply_immediately, !var.deletion_protection)

  # Performance Insights takes memory: AWS recommends two capacity units or more with it (Aurora User Guide, "Choosing the
  # minimum Aurora Serverless v2 capacity setting for a cluster").
  insights = !var.aurora || var.aurora_minimum_capacity >= 2

  # Rotation runs CREATE ROLE and ALTER USER with the password in clear, so nothing may log the text of a statement of
  # that kind: not log_statement, not log_min_duration_statement if it is slow, not log_min_error_statement if it fails.
  # pgaudit logs changes of tables and roles without passwords (Amazon RDS User Guide, "Using pgAudit to log database
  # activity"); auto_explain logs what was slow, and sees queries alone, never a command about a role.
  immediate_parameters = {
    "log_statement"                 = "none"
    "log_min_duration_statement"    = "-1"
    "log_min_error_statement"       = "panic"
    "pgaudit.log"                   = "ddl,role"
    "auto_explain.log_min_duration" = "1000"
    # Whoever forgets a transaction holds back the clean-up of all rates.
    "idle_in_transaction_session_timeout" = "600000"
  }
  # These wait for a restart. rds.force_ssl does not need to, but is reported so where it is the default, and would
  # otherwise be in every plan (terraform-provider-aws#39252).
  restart_parameters = {
    "rds.force_ssl"            = "1"
    "shared_preload_libraries" = "pg_stat_statements,pgaudit,auto_explain"
  }
  database_parameters = merge(
    { for name, value in local.immediate_parameters : name => { value = value, method = "immediate" } },
    { for name, value in local.restart_parameters : name => { value = value, method = "pending-reboot" } },
  )
}

# The kind that was made here stays in the state, whatever the switch says later: without this, a plan would delete the
# database that is there to make the other one. `-replace=terraform_data.database` says that there is another database
# from now on; it is said for one plan, in words, and left behind nowhere.
resource "terraform_data" "database" {
  input = local.database_kind

  lifecycle {
    ignore_changes = [input]

    postcondition {
      condition     = self.output == local.database_kind
      error_message = "This environment has a database of the kind \"${self.output}\": aurora = ${var.aurora} would delete it, with all that is in it. docs/operations.md, \"Moving between Aurora and RDS\", takes the data along. If it may be lost, plan with -replace=terraform_data.database."
    }
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

# RDS would make them by itself, and keep them for ever. Enhanced monitoring writes to RDSOSMetrics, of which an account
# has one for all databases of a region; RDS keeps that for 30 days.
resource "aws_cloudwatch_log_group" "database" {
  for_each = toset(local.database_logs)

  name              = "/aws/rds/${var.aurora ? "cluster" : "instance"}/${local.name}/${each.key}"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.main.arn
}
