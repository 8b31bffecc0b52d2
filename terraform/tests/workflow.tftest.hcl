# The path of a batch: the bucket, the rule and the trigger that start its execution, the state machine, the queue.

mock_provider "aws" {
  source = "./tests/mocks"
}

override_module {
  target  = module.environment
  outputs = { name = "test" }
}

override_resource {
  target = aws_s3_bucket.batches
  values = { arn = "arn:aws:s3:::batches" }
}

override_resource {
  target = aws_sqs_queue.arrivals
  values = { arn = "arn:aws:sqs:eu-central-1:123456789012:arrivals", id = "https://sqs.example/arrivals" }
}

override_resource {
  target = aws_sqs_queue.dead_letter
  values = { arn = "arn:aws:sqs:eu-central-1:123456789012:dead-letter", id = "https://sqs.example/dead-letter" }
}

override_resource {
  target = aws_sns_topic.notifications
  values = { arn = "arn:aws:sns:eu-central-1:123456789012:notifications" }
}

variables {
  loader_image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ratesflow/loader@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  api_image    = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ratesflow/api@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
  alarm_emails = ["oncall@example.com"]
  plain_http   = true
}

run "the_bucket" {
  assert {
    condition     = aws_s3_bucket_versioning.batches.versioning_configuration[0].status == "Enabled"
    error_message = "objects are versioned, so that a batch is read by version"
  }

  assert {
    condition = [
      for rule in aws_s3_bucket_server_side_encryption_configuration.batches.rule : rule.apply_server_side_encryption_by_default[0].sse_algorithm
    ] == ["aws:kms"]
    error_message = "objects are encrypted with the environment's key"
  }

  assert {
    condition     = { for rule in aws_s3_bucket_lifecycle_configuration.batches.rule : rule.id => try(rule.expiration[0].days, null) } == { all = null, incoming = null, reference = 90, reports = 400, results = 90 }
    error_message = "reports and results expire; arrived files do not"
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.batches.rule : rule.noncurrent_version_expiration[0].noncurrent_days if rule.id == "all"] == [90]
    error_message = "old versions expire"
  }
}

run "the_trigger" {
  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.trigger.policy).Statement : statement.Sid => statement.Resource if statement.Sid != "Logs"
      } == {
      Arrivals = "arn:aws:sqs:eu-central-1:123456789012:arrivals"
      Poison   = "arn:aws:sqs:eu-central-1:123456789012:dead-letter"
      Start = [
        "arn:aws:states:eu-central-1:123456789012:stateMachine:ratesflow-test-ingestion",
        "arn:aws:states:eu-central-1:123456789012:stateMachine:ratesflow-test-ingestion:live",
      ]
      Traces = "*"
    }
    error_message = "the trigger may read one queue, write to another and start one state machine"
  }

  assert {
    condition     = aws_sqs_queue.arrivals.visibility_timeout_seconds == 6 * aws_lambda_function.trigger.timeout
    error_message = "a message is hidden for six times the function's timeout"
  }

  assert {
    condition     = aws_lambda_event_source_mapping.arrivals.function_response_types == toset(["ReportBatchItemFailures"])
    error_message = "one failed message must not return the others to the queue"
  }

  assert {
    condition     = aws_cloudwatch_event_target.arrivals.dead_letter_config[0].arn == aws_sqs_queue.dead_letter.arn
    error_message = "an event that cannot reach the queue goes to the dead-letter queue"
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.arrivals.redrive_policy).deadLetterTargetArn == aws_sqs_queue.dead_letter.arn
    error_message = "an event that fails repeatedly goes there too"
  }

  assert {
    condition = aws_cloudwatch_event_rule.arrivals.event_pattern == jsonencode({
      source      = ["aws.s3"]
      detail-type = ["Object Created"]
      detail      = { bucket = { name = ["ratesflow-test-batches-123456789012-eu-central-1"] }, object = { key = [{ prefix = "incoming/" }] } }
    })
    error_message = "only new objects under incoming/ of this bucket start an execution"
  }

  assert {
    condition     = aws_lambda_function.trigger.environment[0].variables.RATESFLOW_STATE_MACHINE_ARN == aws_sfn_alias.live.arn
    error_message = "the trigger starts the version of the alias"
  }
}

run "the_state_machine" {
  assert {
    condition     = aws_sfn_state_machine.ingestion.publish && aws_sfn_state_machine.ingestion.tracing_configuration[0].enabled
    error_message = "each definition is a version, and executions are traced"
  }

  assert {
    condition     = aws_sfn_state_machine.ingestion.logging_configuration[0].log_destination == "${aws_cloudwatch_log_group.executions.arn}:*" && aws_sfn_state_machine.ingestion.logging_configuration[0].level == "ERROR"
    error_message = "errors are logged"
  }

  assert {
    condition     = aws_sfn_alias.live.routing_configuration[0].state_machine_version_arn == aws_sfn_state_machine.ingestion.state_machine_version_arn && aws_sfn_alias.live.routing_configuration[0].weight == 100
    error_message = "the alias points only to the newest version"
  }

  assert {
    condition     = can(jsondecode(aws_sfn_state_machine.ingestion.definition)) && !strcontains(aws_sfn_state_machine.ingestion.definition, "$${")
    error_message = "every placeholder of the definition is substituted"
  }

  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.state_machine.policy).Statement : statement.Sid => statement.Resource if contains(["Results", "Missing", "Notify", "WaitForJobs"], statement.Sid)
      } == {
      Results     = "arn:aws:s3:::batches/results/*"
      Missing     = "arn:aws:s3:::batches"
      Notify      = "arn:aws:sns:eu-central-1:123456789012:notifications"
      WaitForJobs = "arn:aws:events:eu-central-1:123456789012:rule/StepFunctionsGetEventsForBatchJobsRule"
    }
    error_message = "it reads and writes only results, and publishes to one topic"
  }

  assert {
    condition = join(" ", sort(flatten([
      for statement in jsondecode(aws_iam_role_policy.state_machine.policy).Statement : [for resource in statement.Resource : element(split("/", resource), 1)] if statement.Sid == "Submit"
      ]))) == join(" ", [
      "queue", "ratesflow-test-commit", "ratesflow-test-commit:*", "ratesflow-test-discard", "ratesflow-test-discard:*",
      "ratesflow-test-load", "ratesflow-test-load:*", "ratesflow-test-validate", "ratesflow-test-validate:*",
    ])
    error_message = "it submits the four tasks of a batch, to one queue"
  }
}

run "the_queue" {
  assert {
    condition     = alltrue([for limit in aws_batch_job_queue.tasks["fargate"].job_state_time_limit_action : limit.action == "CANCEL" && limit.state == "RUNNABLE" && limit.max_time_seconds == 3600]) && length(aws_batch_job_queue.tasks["fargate"].job_state_time_limit_action) == 3
    error_message = "a job that can never run leaves the queue after an hour"
  }

  assert {
    condition     = alltrue([for job in aws_batch_job_definition.task : job.timeout[0].attempt_duration_seconds >= 300])
    error_message = "every task has a timeout"
  }

  assert {
    condition     = aws_flow_log.main[0].traffic_type == "ALL"
    error_message = "flow logs are kept"
  }
}
