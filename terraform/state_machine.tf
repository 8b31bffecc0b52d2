# The state machine, from the definition that the Python code writes. An execution keeps the version that it started with.

locals {
  alias = "live"
}

resource "aws_cloudwatch_log_group" "executions" {
  name              = "/aws/vendedlogs/states/${local.name}-ingestion"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.main.arn
}

resource "aws_sfn_state_machine" "ingestion" {
  name     = local.state_machine_name
  type     = "STANDARD"
  role_arn = aws_iam_role.state_machine.arn
  publish  = true

  definition = templatefile("${path.module}/../workflow/definition.asl.json", merge(
    {
      JobQueue    = local.job_queue_arn
      TopicArn    = aws_sns_topic.notifications.arn
      Bucket      = aws_s3_bucket.batches.bucket
      Environment = local.environment
    },
    { for task in local.batch_tasks : "${title(task)}JobDefinition" => aws_batch_job_definition.task[task].arn },
  ))

  logging_configuration {
    level                  = "ERROR" # the history of every execution is kept for 90 days anyway
    include_execution_data = true
    log_destination        = "${aws_cloudwatch_log_group.executions.arn}:*"
  }

  tracing_configuration {
    enabled = var.monitoring
  }

  depends_on = [aws_iam_role_policy.state_machine]
}

resource "aws_sfn_alias" "live" {
  name        = local.alias
  description = "The version that new executions run"

  routing_configuration {
    state_machine_version_arn = aws_sfn_state_machine.ingestion.state_machine_version_arn
    weight                    = 100
  }
}
