# Scheduled work: gc, compaction, and the redeployment of the API after a rotation.

resource "aws_scheduler_schedule_group" "main" {
  name = local.name
}

# Runs that could not be started. Not in the other dead-letter queue, whose messages can all be started as batches.
resource "aws_sqs_queue" "schedules_dead_letter" {
  name                      = "${local.name}-schedules-dead-letter"
  sqs_managed_sse_enabled   = true
  message_retention_seconds = 14 * 86400
}

locals {
  # Each run needs a new ID; the scheduler replaces this placeholder by its own.
  run_id = "<aws.scheduler.execution-id>"

  schedules = {
    gc      = { expression = var.gc_schedule, parameters = {} }
    compact = { expression = var.compact_schedule, parameters = { min_batches = tostring(var.compact_min_batches) } }
  }
}

resource "aws_scheduler_schedule" "task" {
  for_each = local.schedules

  name                = each.key
  group_name          = aws_scheduler_schedule_group.main.name
  description         = "Runs the task ${each.key}"
  schedule_expression = each.value.expression
  kms_key_arn         = aws_kms_key.main.arn

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = "arn:${local.partition}:scheduler:::aws-sdk:batch:submitJob"
    role_arn = aws_iam_role.scheduler.arn

    input = replace(replace(jsonencode({
      JobName       = "${each.key}-${local.run_id}"
      JobQueue      = local.job_queue_arn
      JobDefinition = aws_batch_job_definition.task[each.key].arn
      Parameters    = merge(each.value.parameters, { run_id = "${each.key}-${local.run_id}" })
    }), "\\u003c", "<"), "\\u003e", ">") # jsonencode escapes both, and the scheduler would not recognize its placeholder

    retry_policy {
      maximum_event_age_in_seconds = 600
      maximum_retry_attempts       = 3
    }

    dead_letter_config {
      arn = aws_sqs_queue.schedules_dead_letter.arn
    }
  }
}

# ECS injects a secret when a container starts, so the API must be redeployed to use the rotated password. The former one works
# until the next rotation: for a month a failure here has no effect, and can be noticed.
resource "aws_scheduler_schedule" "api" {
  count = var.rotation ? 1 : 0

  name                = "redeploy-api"
  group_name          = aws_scheduler_schedule_group.main.name
  description         = "Redeploys the API, one task after the other, after rotation"
  schedule_expression = var.api_redeploy_schedule
  kms_key_arn         = aws_kms_key.main.arn

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = "arn:${local.partition}:scheduler:::aws-sdk:ecs:updateService"
    role_arn = aws_iam_role.scheduler.arn
    input = jsonencode({
      Cluster            = aws_ecs_cluster.api.arn
      Service            = aws_ecs_service.api.name
      ForceNewDeployment = true
    })

    retry_policy {
      maximum_event_age_in_seconds = 86400
      maximum_retry_attempts       = 20
    }

    dead_letter_config {
      arn = aws_sqs_queue.schedules_dead_letter.arn
    }
  }
}

resource "aws_iam_role" "scheduler" {
  name = "${local.global_name}-scheduler"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "scheduler.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "scheduler" {
  name = "schedules"
  role = aws_iam_role.scheduler.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid    = "Submit"
          Effect = "Allow"
          Action = ["batch:SubmitJob"]
          Resource = concat(
            [for queue in aws_batch_job_queue.tasks : queue.arn],
            [for task in keys(local.schedules) : "${local.job_definition_arn}/${local.name}-${task}"],
            [for task in keys(local.schedules) : "${local.job_definition_arn}/${local.name}-${task}:*"],
          )
        },
        {
          Sid      = "NotBegun"
          Effect   = "Allow"
          Action   = ["sqs:SendMessage"]
          Resource = [aws_sqs_queue.schedules_dead_letter.arn]
        },
        {
          Sid      = "Key"
          Effect   = "Allow"
          Action   = ["kms:Decrypt"]
          Resource = [aws_kms_key.main.arn]
        },
      ],
      var.rotation ? [{
        Sid      = "Redeploy"
        Effect   = "Allow"
        Action   = ["ecs:UpdateService"]
        Resource = [aws_ecs_service.api.id]
      }] : [],
    )
  })
}
