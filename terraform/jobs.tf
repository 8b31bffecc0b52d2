# The job definitions: one a task. What they say comes from workflow/job_definitions.json, which the Python code writes.

locals {
  jobs = {
    for job in jsondecode(file("${path.module}/../workflow/job_definitions.json")) :
    trimprefix(job.jobDefinitionName, "ratesflow-") => job
  }
  batch_tasks        = ["validate", "load", "commit", "discard"]
  job_definition_arn = "arn:${local.partition}:batch:${local.region}:${local.account}:job-definition"

  # The image's entry point is `python -m ratesflow.loader`: a job's command is what follows it.
  entry_point = ["python", "-P", "-m", "ratesflow.loader"]

  # As many as Batch allows. The first that fits counts, so the last one may stand there more than once.
  retry_rules = {
    for task, job in local.jobs : task => [
      for number in range(5) : element(job.retryStrategy.evaluateOnExit, min(number, length(job.retryStrategy.evaluateOnExit) - 1))
    ]
  }

  sizes = {
    for task, job in local.jobs : task => {
      for resource in job.containerProperties.resourceRequirements : resource.type => resource.value
    }
  }
  vcpus  = { for task in keys(local.jobs) : task => try(var.task_sizes[task].vcpus, tonumber(local.sizes[task].VCPU)) }
  memory = { for task in keys(local.jobs) : task => try(var.task_sizes[task].memory, tonumber(local.sizes[task].MEMORY)) }
  gpus   = anytrue([for size in values(var.task_sizes) : size.gpus > 0])

  job_environment = merge(
    {
      RATESFLOW_ENVIRONMENT       = local.environment
      RATESFLOW_STATE_MACHINE_ARN = local.state_machine_arn
      RATESFLOW_BUCKET            = aws_s3_bucket.batches.bucket
      RATESFLOW_TOPIC_ARN         = aws_sns_topic.notifications.arn
      RATESFLOW_QUEUE_URL         = aws_sqs_queue.arrivals.id
      RATESFLOW_METRICS           = tostring(var.monitoring)
      RATESFLOW_SIDE_FILES        = join(",", var.side_files)
      AWS_DEFAULT_REGION          = local.region
    },
    var.database_ca_file == null ? {} : { DATABASE_SSLROOTCERT = var.database_ca_file },
    var.task_environment,
  )

  # Each task knows one user of the database: migrate its owner, the others the loader. The secret comes with the job;
  # its address too, for a task that is refused because the password was rotated meanwhile. The users of loader and API
  # are made by migrate, from their secrets.
  job_secrets = {
    for task in keys(local.jobs) : task => task == "migrate" ? {
      DATABASE_SECRET        = local.owner_secret_arn
      DATABASE_SECRET_LOADER = aws_secretsmanager_secret.login["loader"].arn
      DATABASE_SECRET_READER = aws_secretsmanager_secret.login["reader"].arn
    } : { DATABASE_SECRET = aws_secretsmanager_secret.login["loader"].arn }
  }
  # The secret of the owner, which RDS keeps, has no address in it, and those of the logins keep the one that they were
  # written with.
  job_addresses = {
    for task in keys(local.jobs) : task => {
      DATABASE_SECRET_ARN = local.job_secrets[task].DATABASE_SECRET
      DATABASE_HOST       = local.writer_host
    }
  }
}

resource "aws_cloudwatch_log_group" "tasks" {
  name              = "/ratesflow/${local.environment}/tasks"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.main.arn
}

# A revision that is changed stays, and a new one is made beside it, also for another platform. But where Terraform
# destroys one of these it deregisters ALL revisions of its name, also those that executions under way still submit. It
# does so for a task that is no longer in workflow/job_definitions.py: before that is applied, take it out of the state by
# `terraform state rm 'aws_batch_job_definition.task["NAME"]'`. It would also do so for another number of retry rules,
# since the provider replaces a definition for that; so their number never changes.
resource "aws_batch_job_definition" "task" {
  for_each = local.jobs

  name                  = "${local.name}-${each.key}"
  type                  = "container"
  platform_capabilities = [local.on_ec2 ? "EC2" : "FARGATE"]
  parameters            = each.value.parameters
  propagate_tags        = each.value.propagateTags

  # Executions under way hold on to the revision that they began with.
  deregister_on_new_revision = false

  timeout {
    attempt_duration_seconds = each.value.timeout.attemptDurationSeconds
  }

  retry_strategy {
    attempts = each.value.retryStrategy.attempts

    dynamic "evaluate_on_exit" {
      for_each = local.retry_rules[each.key]

      content {
        action           = evaluate_on_exit.value.action
        on_exit_code     = try(evaluate_on_exit.value.onExitCode, null)
        on_reason        = try(evaluate_on_exit.value.onReason, null)
        on_status_reason = try(evaluate_on_exit.value.onStatusReason, null)
      }
    }
  }

  container_properties = jsonencode(merge(
    {
      image                  = var.loader_image
      command                = slice(each.value.containerProperties.command, length(local.entry_point), length(each.value.containerProperties.command))
      jobRoleArn             = aws_iam_role.task[each.key].arn
      executionRoleArn       = aws_iam_role.execution["tasks-${each.key == "migrate" ? "owner" : "loader"}"].arn
      environment            = [for name, value in merge(local.job_environment, local.job_addresses[each.key]) : { name = name, value = value }]
      secrets                = [for name, arn in local.job_secrets[each.key] : { name = name, valueFrom = arn }]
      readonlyRootFilesystem = true
      privileged             = false
      # A report of more refused lines than memory should hold is gathered in a file.
      volumes     = [{ name = "scratch" }]
      mountPoints = [{ sourceVolume = "scratch", containerPath = "/tmp", readOnly = false }]
      resourceRequirements = concat(
        [
          # EC2 takes whole vCPUs alone.
          { type = "VCPU", value = tostring(local.on_ec2 ? ceil(local.vcpus[each.key]) : local.vcpus[each.key]) },
          { type = "MEMORY", value = tostring(local.memory[each.key]) },
        ],
        try(var.task_sizes[each.key].gpus, 0) > 0 ? [{ type = "GPU", value = tostring(var.task_sizes[each.key].gpus) }] : [],
      )
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.tasks.name
          awslogs-region        = local.region
          awslogs-stream-prefix = each.key
        }
      }
    },
    local.on_ec2 ? {} : {
      networkConfiguration         = { assignPublicIp = "DISABLED" }
      fargatePlatformConfiguration = { platformVersion = "1.4.0" }
      runtimePlatform              = { cpuArchitecture = "X86_64", operatingSystemFamily = "LINUX" }
      ephemeralStorage             = { sizeInGiB = var.scratch_gib }
    },
  ))
}
