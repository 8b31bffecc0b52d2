# Tasks: their definitions, where they run, and their permissions.

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
  target = aws_secretsmanager_secret.login["loader"]
  values = { arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:loader" }
}

override_resource {
  target = aws_secretsmanager_secret.login["reader"]
  values = { arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:reader" }
}

override_resource {
  target = aws_sqs_queue.arrivals
  values = { arn = "arn:aws:sqs:eu-central-1:123456789012:arrivals", id = "https://sqs.example/arrivals" }
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

run "definitions" {
  assert {
    condition     = sort(keys(aws_batch_job_definition.task)) == sort(keys(local.jobs))
    error_message = "every task has a job definition"
  }

  assert {
    condition = length(setsubtract(
      ["commit", "compact", "discard", "gc", "ledger", "load", "migrate", "reference", "undo", "validate"],
      keys(aws_batch_job_definition.task),
    )) == 0
    error_message = "before a task is removed, see the block in jobs.tf"
  }

  assert {
    condition     = alltrue([for job in aws_batch_job_definition.task : job.deregister_on_new_revision == false])
    error_message = "a revision that running executions use must remain"
  }

  assert {
    condition     = alltrue([for job in aws_batch_job_definition.task : jsondecode(job.container_properties).image == var.loader_image])
    error_message = "every job runs the given image, by digest"
  }

  assert {
    condition     = alltrue([for job in aws_batch_job_definition.task : jsondecode(job.container_properties).readonlyRootFilesystem])
    error_message = "the root file system of every container is read-only"
  }

  assert {
    condition     = alltrue([for job in aws_batch_job_definition.task : jsondecode(job.container_properties).networkConfiguration.assignPublicIp == "DISABLED"])
    error_message = "no task has a public address"
  }

  assert {
    condition     = alltrue([for name, job in aws_batch_job_definition.task : job.name == "ratesflow-test-${name}"])
    error_message = "names contain the workspace"
  }

  assert {
    condition     = alltrue([for job in aws_batch_job_definition.task : job.retry_strategy[0].attempts == 3 && length(job.retry_strategy[0].evaluate_on_exit) == 5])
    error_message = "there are three attempts and always five rules: with another number the provider replaces the definition, and deregisters what running executions submit"
  }

  assert {
    condition = alltrue([
      for name, job in aws_batch_job_definition.task : join(" ", [for secret in jsondecode(job.container_properties).secrets : secret.name]) ==
      (local.jobs[name].login == "owner" ? "DATABASE_SECRET DATABASE_SECRET_LOADER DATABASE_SECRET_READER" : "DATABASE_SECRET")
    ])
    error_message = "every task gets its secret, and the owner's tasks those of the users that they create"
  }
}

run "each_task_reaches_only_its_own_prefixes" {
  assert {
    condition = jsonencode({
      for name, policy in aws_iam_role_policy.task : name => sort(distinct(flatten([
        for statement in jsondecode(policy.policy).Statement : [
          for resource in flatten([statement.Resource]) : [
            for action in flatten([statement.Action]) : "${action} ${trimprefix(resource, "arn:aws:s3:::batches/")}" if startswith(action, "s3:") && endswith(resource, "*")
          ]
        ]
      ])))
      }) == jsonencode(merge({ for name in keys(aws_iam_role_policy.task) : name => ["s3:PutObject results/*"] }, {
        validate = [
          "s3:AbortMultipartUpload reports/*", "s3:AbortMultipartUpload results/*", "s3:GetObject incoming/*", "s3:GetObject results/*",
          "s3:GetObjectVersion incoming/*", "s3:PutObject reports/*", "s3:PutObject results/*",
        ]
        load = [
          "s3:GetObject incoming/*", "s3:GetObject results/*", "s3:GetObjectVersion incoming/*", "s3:PutObject results/*",
        ]
        discard   = ["s3:GetObject results/*", "s3:PutObject results/*"]
        reference = ["s3:GetObject reference/*", "s3:PutObject results/*"]
    }))
    error_message = "a task may access its own prefixes only: all others write results and nothing else"
  }

  assert {
    condition = alltrue([
      for name, policy in aws_iam_role_policy.task : [
        for statement in jsondecode(policy.policy).Statement : statement.Resource if statement.Sid == "Secret"
      ] == [local.jobs[name].login == "owner" ? "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!owner" : "arn:aws:secretsmanager:eu-central-1:123456789012:secret:loader"]
    ])
    error_message = "each task may read the secret of its login only"
  }

  assert {
    condition     = [for name, job in local.jobs : name if job.login == "owner"] == ["migrate"]
    error_message = "only migrate has the owner's login"
  }

  assert {
    condition = [
      for name, policy in aws_iam_role_policy.task : name if anytrue([
        for statement in jsondecode(policy.policy).Statement : anytrue([
          for action in flatten([statement.Action]) : startswith(action, "sns:") || startswith(action, "sqs:") || startswith(action, "states:")
        ])
      ])
    ] == ["gc"]
    error_message = "only gc may notify, send to the queue and list executions"
  }

  assert {
    condition = alltrue(flatten([
      for policy in aws_iam_role_policy.task : [
        for statement in jsondecode(policy.policy).Statement : [for resource in flatten([statement.Resource]) : resource != "*"]
      ]
    ]))
    error_message = "no task has permissions for all resources"
  }
}

run "starting_containers" {
  assert {
    condition = {
      for name, policy in aws_iam_role_policy.execution : name => flatten([
        for statement in jsondecode(policy.policy).Statement : statement.Resource if statement.Sid == "Secrets" || statement.Sid == "Image"
      ])
      } == {
      tasks-loader = [
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:loader",
        "arn:aws:ecr:eu-central-1:123456789012:repository/ratesflow/loader",
      ]
      tasks-owner = [
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!owner",
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:loader",
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:reader",
        "arn:aws:ecr:eu-central-1:123456789012:repository/ratesflow/loader",
      ]
      api = [
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:reader",
        "arn:aws:ecr:eu-central-1:123456789012:repository/ratesflow/api",
      ]
    }
    error_message = "a container starts with its own secret and its own image"
  }
}

run "schedules" {
  assert {
    condition     = sort(keys(aws_scheduler_schedule.task)) == tolist(["compact", "gc"])
    error_message = "gc and compaction run on a schedule"
  }

  assert {
    condition     = alltrue([for name, schedule in aws_scheduler_schedule.task : jsondecode(schedule.target[0].input).Parameters.run_id == "${name}-<aws.scheduler.execution-id>"])
    error_message = "each run has a unique name, from the placeholder that the scheduler replaces"
  }

  assert {
    condition     = alltrue([for schedule in aws_scheduler_schedule.task : strcontains(schedule.target[0].input, "<aws.scheduler.execution-id>")])
    error_message = "the scheduler recognizes its placeholder only if it is not escaped"
  }

  assert {
    condition     = jsondecode(aws_scheduler_schedule.task["compact"].target[0].input).Parameters.min_batches == "16"
    error_message = "a compaction is due at 16 uncompacted batches"
  }

  assert {
    condition     = aws_scheduler_schedule.task["compact"].schedule_expression == "rate(5 minutes)"
    error_message = "compactions keep the uncompacted batches of 1,000 batches per day below the threshold of their alarm"
  }

  assert {
    condition     = jsondecode(aws_scheduler_schedule.api[0].target[0].input).ForceNewDeployment
    error_message = "the API is redeployed after a rotation"
  }
}

run "ec2" {
  variables {
    compute       = "ec2"
    ec2_queue     = true
    minimum_vcpus = 4
    task_sizes    = { load = { vcpus = 32, memory = 245760, gpus = 1 } }
  }

  assert {
    condition     = alltrue([for kind in ["EC2", "SPOT"] : aws_batch_compute_environment.tasks[kind].compute_resources[0].ec2_configuration[0].image_type == "ECS_AL2023_NVIDIA"])
    error_message = "GPU drivers are included if a task needs a GPU"
  }

  assert {
    condition = jsondecode(aws_batch_job_definition.task["load"].container_properties).resourceRequirements == [
      { type = "VCPU", value = "32" }, { type = "MEMORY", value = "245760" }, { type = "GPU", value = "1" },
    ]
    error_message = "a task may be larger than Fargate allows"
  }

  assert {
    condition     = jsondecode(aws_batch_job_definition.task["commit"].container_properties).resourceRequirements[0].value == "1"
    error_message = "EC2 accepts only whole vCPUs"
  }

  assert {
    condition     = !can(jsondecode(aws_batch_job_definition.task["load"].container_properties).networkConfiguration)
    error_message = "settings that EC2 rejects are only set on Fargate"
  }

  assert {
    condition     = aws_launch_template.instances[0].metadata_options[0].http_tokens == "required" && base64decode(aws_launch_template.instances[0].user_data) == local.instances_boot
    error_message = "containers must not reach the instance's own role: tests/terraform/test_instances.py"
  }

  assert {
    condition = alltrue([
      for kind in ["EC2", "SPOT"] : [
        for policy in aws_batch_compute_environment.tasks[kind].update_policy : [policy.job_execution_timeout_minutes, policy.terminate_jobs_on_update]
      ] == [[120, false]]
    ])
    error_message = "instances are replaced when their jobs have ended: an attempt may take an hour, and Batch waits twice that"
  }

  assert {
    condition     = { for kind in ["EC2", "SPOT"] : kind => aws_batch_compute_environment.tasks[kind].compute_resources[0].min_vcpus } == { EC2 = 4, SPOT = 0 }
    error_message = "the environment that is kept running comes first in the queue"
  }
}

run "warm_spot" {
  command = plan

  variables {
    compute       = "ec2-spot"
    ec2_queue     = true
    minimum_vcpus = 4
  }

  assert {
    condition     = { for kind in ["EC2", "SPOT"] : kind => aws_batch_compute_environment.tasks[kind].compute_resources[0].min_vcpus } == { EC2 = 0, SPOT = 4 }
    error_message = "Spot comes first in the queue, so Spot is kept running"
  }
}

run "ec2_without_its_queue" {
  command = plan

  variables {
    compute = "ec2"
  }

  expect_failures = [var.ec2_queue]
}

run "fargate_keeps_nothing_running" {
  command = plan

  variables {
    minimum_vcpus = 2
  }

  expect_failures = [var.minimum_vcpus]
}

run "capacity_for_fewer_than_two_tasks" {
  command = plan

  variables {
    maximum_vcpus = 7
    task_sizes    = { load = { vcpus = 4, memory = 16384 } }
  }

  expect_failures = [var.maximum_vcpus]
}

run "fargate_has_no_gpu" {
  command = plan

  variables {
    task_sizes = { load = { vcpus = 4, memory = 16384, gpus = 1 } }
  }

  expect_failures = [var.task_sizes]
}

run "an_image_by_its_tag" {
  command = plan

  variables {
    loader_image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ratesflow/loader:latest"
  }

  expect_failures = [var.loader_image]
}
