# The job definitions, one per task. Their contents come from workflow/job_definitions.json, which the Python code writes.

locals {
  jobs = {
    for job in jsondecode(file("${path.module}/../workflow/job_definitions.json")) :
    trimprefix(job.jobDefinitionName, "ratesflow-") => job
  }
  batch_tasks        = ["validate", "load", "commit", "discard"]
  job_definition_arn = "arn:${local.partition}:batch:${local.region}:${local.account}:job-definition"

  # The image's entry point is `python -m ratesflow.loader`: a job's command is what follows it.
  entry_point = ["python", "-P", "-m", "ratesflow.loader"]

  # The maximum number that Batch allows. The first match counts, so the last one may be repeated.
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

  # Each task has one database user: migrate the owner, the others the loader. ECS injects the secret; the task also has its ARN, to
  # read it again if the password was rotated in the meantime. Migrate creates the users of the loader and the API from their
  # secrets.
  job_secrets = {
    for task in keys(local.jobs) : task => task == "migrate" ? {
      DATABASE_SECRET        = local.owner_secret_arn
      DATABASE_SECRET_LOADER = aws_secretsmanager_secret.login["loader"].arn
      DATABASE_SECRET_READER = aws_secretsmanager_secret.login["reader"].arn
    } : { DATABASE_SECRET = aws_secretsmanager_secret.login["loader"].arn }
  }
  # The secret of the owner, which RDS manages, contains no address, and those of the logins keep the one that they were
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

# A changed definition gets a new revision, also for another platform, and the old one stays active. But if Terraform destroys
# one of these resources, it deregisters ALL revisions of its name, including those that running executions still submit. It does
# so for a task that was removed from workflow/job_definitions.py: before you apply that, remove it from the state with
# `terraform state rm 'aws_batch_job_definition.task["NAME"]'`. It would also do so for another number of retry rules,
# since the provider replaces a definition for that; so their number never changes.
resource "aws_batch_job_definition" "task" {
  for_each = local.jobs

  name                  = "${local.name}-${each.key}"
  type                  = "container"
  platform_capabilities = [local.on_ec2 ? "EC2" : "FARGATE"]
  parameters            = each.value.parameters
  propagate_tags        = each.value.propagateTags

  # Running executions depend on the revisions that they began with.
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
      # A report with too many rejected lines for memory is collected in a file.
      volumes     = [{ name = "scratch" }]
      mountPoints = [{ sourceVolume = "scratch", containerPath = "/tmp", readOnly = false }]
      resourceRequirements = concat(
        [
          # EC2 accepts only whole vCPUs.
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
