# Alarms of the workflow: arrivals, executions, tasks, upkeep.

locals {
  by_machine     = { StateMachineArn = local.state_machine_arn }
  by_environment = { Environment = local.environment }

  # Amazon ECS Developer Guide, "AWS Fargate usage metrics": everything in the account and region counts.
  fargate_vcpus     = { Service = "Fargate", Type = "Resource", Resource = "vCPU" }
  uses_fargate      = !local.on_ec2 || !var.api_spot
  uses_fargate_spot = var.compute == "fargate-spot" || var.api_spot

  workflow_alarms = {
    execution-failed = {
      summary   = "an execution failed or timed out."
      threshold = 0
      metrics = {
        failed    = { namespace = "AWS/States", name = "ExecutionsFailed", dimensions = local.by_machine, stat = "Sum" }
        timed_out = { namespace = "AWS/States", name = "ExecutionsTimedOut", dimensions = local.by_machine, stat = "Sum" }
      }
      expression = "FILL(failed, 0) + FILL(timed_out, 0)"
    }
    executions-throttled = {
      summary   = "Step Functions delays steps of executions: the account's quota of state transitions is used up."
      threshold = 0
      metrics = {
        steps   = { namespace = "AWS/States", name = "ExecutionThrottled", dimensions = local.by_machine, stat = "Sum" }
        account = { namespace = "AWS/States", name = "ThrottledEvents", dimensions = { ServiceMetric = "StateTransition" }, stat = "Sum" }
      }
      expression = "FILL(steps, 0) + FILL(account, 0)"
    }
    nothing-arrived = {
      summary    = "no execution has started for nothing_arrived_hours."
      threshold  = 1
      comparison = "LessThanThreshold"
      missing    = "breaching"
      when       = var.nothing_arrived_hours > 0
      seconds    = 3600
      periods    = max(1, var.nothing_arrived_hours)
      metrics = {
        started = { namespace = "AWS/States", name = "ExecutionsStarted", dimensions = local.by_machine, stat = "Sum" }
      }
    }
    execution-slow = {
      summary   = "an execution took more than 30 minutes, including waits (milliseconds)."
      threshold = 1800000
      metrics = {
        time = { namespace = "AWS/States", name = "ExecutionTime", dimensions = local.by_machine, stat = "Maximum" }
      }
    }
    batch-waiting = {
      summary   = "a task waited more than ten minutes for capacity (seconds)."
      threshold = 600
      metrics = {
        waited = { namespace = "ratesflow", name = "QueueWaitSeconds", dimensions = local.by_environment, stat = "Maximum" }
      }
    }
    fargate-quota = {
      summary   = "the account uses more than 80 % of its quota of Fargate On-Demand vCPUs (percent)."
      threshold = 80
      when      = local.uses_fargate
      metrics = {
        used = { namespace = "AWS/Usage", name = "ResourceCount", dimensions = merge(local.fargate_vcpus, { Class = "Standard/OnDemand" }), stat = "Maximum" }
      }
      expression = "100 * used / SERVICE_QUOTA(used)"
    }
    fargate-spot-quota = {
      summary   = "the account uses more than 80 % of its quota of Fargate Spot vCPUs (percent)."
      threshold = 80
      when      = local.uses_fargate_spot
      metrics = {
        used = { namespace = "AWS/Usage", name = "ResourceCount", dimensions = merge(local.fargate_vcpus, { Class = "Standard/Spot" }), stat = "Maximum" }
      }
      expression = "100 * used / SERVICE_QUOTA(used)"
    }
    arrivals-waiting = {
      summary   = "the event of an arrived file has waited more than ten minutes for the trigger (seconds)."
      threshold = 600
      metrics = {
        age = { namespace = "AWS/SQS", name = "ApproximateAgeOfOldestMessage", dimensions = { QueueName = aws_sqs_queue.arrivals.name }, stat = "Maximum" }
      }
    }
    dead-letter = {
      summary   = "the dead-letter queue has events of arrived files."
      threshold = 0
      metrics = {
        messages = { namespace = "AWS/SQS", name = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = aws_sqs_queue.dead_letter.name }, stat = "Maximum" }
      }
    }
    trigger-errors = {
      summary   = "the trigger failed or was throttled."
      threshold = 0
      metrics = {
        errors    = { namespace = "AWS/Lambda", name = "Errors", dimensions = { FunctionName = aws_lambda_function.trigger.function_name }, stat = "Sum" }
        throttles = { namespace = "AWS/Lambda", name = "Throttles", dimensions = { FunctionName = aws_lambda_function.trigger.function_name }, stat = "Sum" }
      }
      expression = "FILL(errors, 0) + FILL(throttles, 0)"
    }
    schedule-failed = {
      summary   = "the scheduler could not start gc, a compaction or the redeployment of the API."
      threshold = 0
      metrics = {
        dropped = { namespace = "AWS/SQS", name = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = aws_sqs_queue.schedules_dead_letter.name }, stat = "Maximum" }
      }
    }
    commit-slow = {
      summary   = "a commit took more than a second: something locks the ledger (milliseconds)."
      threshold = 1000
      metrics = {
        commit = { namespace = "ratesflow", name = "CommitMilliseconds", dimensions = local.by_environment, stat = "Maximum" }
      }
    }
    uncompacted-batches = {
      summary   = "64 or more batches wait for compaction, which slows down reads."
      threshold = 63
      metrics = {
        batches = { namespace = "ratesflow", name = "UncompactedBatches", dimensions = local.by_environment, stat = "Maximum" }
      }
    }
    upkeep-backlog = {
      summary   = "gc or compaction has left pieces of its work unfinished for an hour."
      threshold = 0
      seconds   = 900
      periods   = 4
      metrics = {
        left = { namespace = "ratesflow", name = "Backlog", dimensions = local.by_environment, stat = "Maximum" }
      }
    }
    batches-rejected = {
      summary   = "five or more batches were rejected within an hour: contact the supplier."
      threshold = 4
      seconds   = 3600
      metrics = {
        rejected = { namespace = "ratesflow", name = "Batches", dimensions = merge(local.by_environment, { Outcome = "rejected" }), stat = "Sum" }
      }
    }
    rotation-failed = {
      summary   = "the password of the loader or of the API could not be rotated."
      threshold = 0
      when      = var.rotation
      metrics = {
        errors = { namespace = "AWS/Lambda", name = "Errors", dimensions = { FunctionName = local.rotation_function }, stat = "Sum" }
      }
    }
  }
}

# There is no metric for failed scheduled tasks, but an event.
resource "aws_cloudwatch_event_rule" "task_failed" {
  count = var.monitoring ? 1 : 0

  name        = "${local.name}-task-failed"
  description = "docs/operations.md#task-failed: a task that does not belong to a batch failed, such as gc."
  event_pattern = jsonencode({
    source      = ["aws.batch"]
    detail-type = ["Batch Job State Change"]
    detail = {
      status   = ["FAILED"]
      jobQueue = [for queue in aws_batch_job_queue.tasks : queue.arn]
      jobName  = [for task in local.upkeep_tasks : { prefix = "${task}-" }]
    }
  })
}

resource "aws_cloudwatch_event_target" "task_failed" {
  count = var.monitoring ? 1 : 0

  rule      = aws_cloudwatch_event_rule.task_failed[0].name
  target_id = "alarms"
  arn       = aws_sns_topic.alarms[0].arn

  input_transformer {
    input_paths    = { name = "$.detail.jobName", reason = "$.detail.statusReason" }
    input_template = "\"docs/operations.md#task-failed: in ${local.environment} the job <name> failed: <reason>\""
  }
}
