# From an upload to an execution: S3, EventBridge, SQS, Lambda. Events that cannot be handled go to the dead-letter queue.

locals {
  trigger_seconds = 30
}

resource "aws_sqs_queue" "arrivals" {
  name                       = "${local.name}-arrivals"
  sqs_managed_sse_enabled    = true
  message_retention_seconds  = 14 * 86400
  visibility_timeout_seconds = 6 * local.trigger_seconds # six times the function's timeout, as the AWS Lambda Developer Guide recommends

  redrive_policy = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead_letter.arn, maxReceiveCount = 5 })
}

# Contains only events, so that `ratesflow redrive` can start all of them.
resource "aws_sqs_queue" "dead_letter" {
  name                      = "${local.name}-dead-letter"
  sqs_managed_sse_enabled   = true
  message_retention_seconds = 14 * 86400
}

resource "aws_sqs_queue_redrive_allow_policy" "dead_letter" {
  queue_url            = aws_sqs_queue.dead_letter.id
  redrive_allow_policy = jsonencode({ redrivePermission = "byQueue", sourceQueueArns = [aws_sqs_queue.arrivals.arn] })
}

resource "aws_sqs_queue_policy" "events" {
  for_each = { arrivals = aws_sqs_queue.arrivals, dead-letter = aws_sqs_queue.dead_letter }

  queue_url = each.value.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "ArrivalsRule"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = each.value.arn
        Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.arrivals.arn } }
      },
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:*"
        Resource  = each.value.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_cloudwatch_event_rule" "arrivals" {
  name        = "${local.name}-arrivals"
  description = "Objects that arrive under ${local.inbox}"
  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    detail      = { bucket = { name = [local.bucket_name] }, object = { key = [{ prefix = local.inbox }] } }
  })
}

resource "aws_cloudwatch_event_target" "arrivals" {
  rule      = aws_cloudwatch_event_rule.arrivals.name
  target_id = "queue"
  arn       = aws_sqs_queue.arrivals.arn

  dead_letter_config {
    arn = aws_sqs_queue.dead_letter.arn
  }

  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }
}

# The function is this one file: it needs only boto3, which is in the runtime.
data "archive_file" "trigger" {
  type        = "zip"
  source_file = "${path.module}/../workflow/trigger.py"
  output_path = "${path.module}/.build/trigger.zip"
}

resource "aws_cloudwatch_log_group" "trigger" {
  name              = "/aws/lambda/${local.name}-trigger"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.main.arn
}

resource "aws_lambda_function" "trigger" {
  #checkov:skip=CKV_AWS_115:The event source's maximum concurrency limits it; accounts with a low quota could not reserve concurrency.
  #checkov:skip=CKV_AWS_116:Only SQS invokes it, and the queue's redrive policy keeps failed messages.
  #checkov:skip=CKV_AWS_117:It only calls AWS services; inside the network it could reach more, not less.
  #checkov:skip=CKV_AWS_272:Its code comes from this repository through the same apply that would sign it.
  function_name    = "${local.name}-trigger"
  description      = "Starts one execution for each object that arrives"
  role             = aws_iam_role.trigger.arn
  runtime          = "python3.13"
  architectures    = ["arm64"]
  handler          = "trigger.handler"
  filename         = data.archive_file.trigger.output_path
  source_code_hash = data.archive_file.trigger.output_base64sha256
  timeout          = local.trigger_seconds
  memory_size      = 256
  kms_key_arn      = aws_kms_key.main.arn

  environment {
    variables = {
      RATESFLOW_STATE_MACHINE_ARN     = aws_sfn_alias.live.arn
      RATESFLOW_DEAD_LETTER_QUEUE_URL = aws_sqs_queue.dead_letter.id
      RATESFLOW_INBOX_PREFIX          = local.inbox
      RATESFLOW_SHARD_BYTES           = tostring(var.shard_bytes)
      RATESFLOW_MAX_SHARDS            = tostring(var.maximum_shards)
      RATESFLOW_IGNORED_FILES         = join(",", var.ignored_files)
    }
  }

  tracing_config {
    mode = var.monitoring ? "Active" : "PassThrough"
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.trigger.name
  }

  depends_on = [aws_iam_role_policy.trigger]
}

resource "aws_lambda_event_source_mapping" "arrivals" {
  event_source_arn        = aws_sqs_queue.arrivals.arn
  function_name           = aws_lambda_function.trigger.arn
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = 10
  }
}
