# Where tasks run: on Fargate, on Fargate Spot with On-Demand behind it, or on EC2.
#
# Each platform has its own queue and both kinds of compute environments, since a queue cannot mix Fargate and EC2. The version
# of the state machine that an execution runs names its queue and job definitions. So `compute` selects the queue for new
# executions, and running ones finish where they began. An idle queue costs nothing.

locals {
  on_ec2   = startswith(var.compute, "ec2")
  on_spot  = endswith(var.compute, "-spot")
  platform = local.on_ec2 ? "ec2" : "fargate"

  # By platform: its Spot and its On-Demand environment.
  kinds = merge(
    { fargate = ["FARGATE_SPOT", "FARGATE"] },
    var.ec2_queue ? { ec2 = ["SPOT", "EC2"] } : {},
  )

  # The order in which each queue tries them. Jobs that still wait in the other platform's queue do not need Spot.
  environments = {
    for platform, kinds in local.kinds : platform => platform == local.platform && local.on_spot ? kinds : [kinds[1]]
  }

  # The two limits add up to maximum_vcpus. Spot has three quarters; On-Demand has the rest, which fits the largest task. AWS does
  # not guarantee that Batch uses the second environment when Fargate Spot has no capacity. On EC2 the limit may be exceeded by one
  # instance.
  largest_task = max([for task in keys(local.jobs) : ceil(local.vcpus[task])]...)
  behind_spot  = max(local.largest_task, floor(var.maximum_vcpus / 4))
  ceilings = merge([
    for platform, kinds in local.kinds : {
      (kinds[0]) = var.maximum_vcpus - local.behind_spot
      (kinds[1]) = platform == local.platform && local.on_spot ? local.behind_spot : var.maximum_vcpus
    }
  ]...)

  first_of_all    = local.environments[local.platform][0]
  longest_minutes = max([for job in values(local.jobs) : ceil(job.run_seconds / 60)]...)

  # A job that can never run leaves the queue after this time, which is also how long an execution waits: queue_seconds in
  # workflow/settings.py.
  queue_seconds = 3600
}

resource "aws_batch_compute_environment" "tasks" {
  for_each = toset(flatten(values(local.kinds)))

  # A prefix, since the new environment must exist before the queue drops the old one.
  name_prefix = "${local.name}-${lower(replace(each.key, "_", "-"))}-"
  type        = "MANAGED"
  state       = "ENABLED"

  compute_resources {
    type               = each.key
    max_vcpus          = local.ceilings[each.key]
    subnets            = aws_subnet.private[*].id
    security_group_ids = [aws_security_group.tasks.id]

    # The environment that is kept running must be the first in the queue, or no jobs would reach it.
    min_vcpus           = startswith(each.key, "FARGATE") ? null : each.key == local.first_of_all ? var.minimum_vcpus : 0
    instance_type       = startswith(each.key, "FARGATE") ? null : var.instance_types
    instance_role       = startswith(each.key, "FARGATE") ? null : aws_iam_instance_profile.instances[0].arn
    allocation_strategy = startswith(each.key, "FARGATE") ? null : each.key == "SPOT" ? "SPOT_PRICE_CAPACITY_OPTIMIZED" : "BEST_FIT_PROGRESSIVE"

    dynamic "ec2_configuration" {
      for_each = startswith(each.key, "FARGATE") ? [] : [local.gpus ? "ECS_AL2023_NVIDIA" : "ECS_AL2023"]

      content {
        image_type = ec2_configuration.value
      }
    }

    dynamic "launch_template" {
      for_each = startswith(each.key, "FARGATE") ? [] : aws_launch_template.instances

      content {
        launch_template_id = launch_template.value.id
        version            = launch_template.value.latest_version
      }
    }
  }

  # When instance types, the launch template, the image or subnets change, Batch replaces the instances, in place for the
  # strategies above and its service-linked role. It waits half an hour for their jobs unless configured otherwise; an attempt may take
  # longer.
  dynamic "update_policy" {
    for_each = startswith(each.key, "FARGATE") ? [] : [min(360, 2 * local.longest_minutes)] # 360 is the provider's maximum

    content {
      job_execution_timeout_minutes = update_policy.value
      terminate_jobs_on_update      = false
    }
  }

  lifecycle {
    create_before_destroy = true
  }

  depends_on = [aws_iam_role_policy_attachment.instances]
}

resource "aws_batch_job_queue" "tasks" {
  for_each = local.environments

  name     = each.key == "fargate" ? local.name : "${local.name}-${each.key}"
  state    = "ENABLED"
  priority = 1

  dynamic "compute_environment_order" {
    for_each = each.value

    content {
      order               = compute_environment_order.key + 1
      compute_environment = aws_batch_compute_environment.tasks[compute_environment_order.value].arn
    }
  }

  dynamic "job_state_time_limit_action" {
    for_each = toset([
      "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
      "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
      "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
    ])

    content {
      state            = "RUNNABLE"
      action           = "CANCEL"
      reason           = job_state_time_limit_action.value
      max_time_seconds = local.queue_seconds
    }
  }
}

locals {
  # The queue for new jobs.
  job_queue_arn = aws_batch_job_queue.tasks[local.platform].arn
}
