# The job definitions: one per task, from the declarations in loader/tasks/ as workflow/job_definitions.json holds them.

locals {
  declared = jsondecode(file("${path.module}/../workflow/job_definitions.json"))
  jobs     = local.declared.tasks

  batch_tasks        = [for task, job in local.jobs : task if job.of_batch]
  upkeep_tasks       = [for task, job in local.jobs : task if !job.of_batch]
  job_definition_arn = "arn:${local.partition}:batch:${local.region}:${local.account}:job-definition"

  # As many as Batch allows. The first that matches counts, so the last one may be repeated.
  retry_rules = [
    for number in range(5) : element(local.declared.retry_rules, min(number, length(local.declared.retry_rules) - 1))
  ]

  vcpus  = { for task, job in local.jobs : task => try(var.task_sizes[task].vcpus, job.vcpus) }
  memory = { for task, job in local.jobs : task => try(var.task_sizes[task].memory, job.memory_mib) }
  gpus   = anytrue([for size in values(var.task_sizes) : size.gpus > 0])

  job_environment = merge(
    {
      RATESFLOW_ENVIRONMENT       = local.environment
      RATESFLOW_STATE_MACHINE_ARN = local.state_machine_arn
      RATESFLOW_BUCKET            = aws_s3_bucket.batches.bucket
      RATESFLOW_TOPIC_ARN         = aws_sns_topic.notifications.arn
      RATESFLOW_QUEUE_URL         = aws_sqs_queue.arrivals.id
      RATESFLOW_METRICS           = tostring(var.monitoring)
      RATESFLOW_IGNORED_FILES     = join(",", var.ignored_files)
      AWS_DEFAULT_REGION          = local.region
    },
    var.database_ca_file == null ? {} : { DATABASE_SSLROOTCERT = var.database_ca_file },
    var.task_environment,
  )

  # Each task has the login of one user of the database. The secret comes with the job; its ARN too, for a task whose
  # login fails because the password has been rotated since. The owner's task creates the users of loader and API, from
  # their secrets.
  job_secrets = {
    for task, job in local.jobs : task => job.login == "owner" ? {
      DATABASE_SECRET        = local.owner_secret_arn
      DATABASE_SECRET_LOADER = aws_secretsmanager_secret.login["loader"].arn
      DATABASE_SECRET_READER = aws_secretsmanager_secret.login["reader"].arn
    } : { DATABASE_SECRET = aws_secretsmanager_secret.login["loader"].arn }
  }
  # The owner's secret, which RDS keeps, has no host in it, and those of the logins keep the host that they were written
  # with.
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

# A change makes a new revision and keeps the old one, also for another platform. But where Terraform destroys one of
# these it deregisters ALL revisions of its name, also those that running executions still submit. It does so for a task
# that is no longer in workflow/job_definitions.json: before that is applied, remove it from the state with
# `terraform state rm 'aws_batch_job_definition.task["NAME"]'`. It would also do so for another number of retry rules,
# since the provider replaces a definition for that; so their number never changes.
resource "aws_batch_job_definition" "task" {
  for_each = local.jobs

  name                  = "${local.name}-${each.key}"
  type                  = "container"
  platform_capabilities = [local.on_ec2 ? "EC2" : "FARGATE"]
  parameters            = each.value.defaults
  propagate_tags        = true

  # Running executions keep the revision that they began with.
  deregister_on_new_revision = false

  timeout {
    attempt_duration_seconds = each.value.run_seconds
  }

  retry_strategy {
    attempts = each.value.attempts

    dynamic "evaluate_on_exit" {
      for_each = local.retry_rules

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
      command                = each.value.command # what follows the entry point of the image
      jobRoleArn             = aws_iam_role.task[each.key].arn
      executionRoleArn       = aws_iam_role.execution["tasks-${each.value.login}"].arn
      environment            = [for name, value in merge(local.job_environment, local.job_addresses[each.key]) : { name = name, value = value }]
      secrets                = [for name, arn in local.job_secrets[each.key] : { name = name, valueFrom = arn }]
      readonlyRootFilesystem = true
      privileged             = false
      # A report of more rejected rows than memory should hold is collected in a file.
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
