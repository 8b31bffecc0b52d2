# Where tasks run: on Fargate, on Fargate Spot with On-Demand behind it, or on EC2.
#
# Each platform has a queue of its own, and both kinds of its environments: a queue cannot hold Fargate and EC2, and an
# execution's version of the state machine names the queue and the job definitions that it began with. So `compute`
# chooses a queue for what starts, and what is under way ends where it began. What waits for jobs costs nothing.

locals {
  on_ec2   = startswith(var.compute, "ec2")
  on_spot  = endswith(var.compute, "-spot")
  platform = local.on_ec2 ? "ec2" : "fargate"

  # By platform: its Spot, and its On-Demand.
  kinds = merge(
    { fargate = ["FARGATE_SPOT", "FARGATE"] },
    var.ec2_queue ? { ec2 = ["SPOT", "EC2"] } : {},
  )

  # In the order in which each queue tries them. What still waits in the queue of the other platform needs no bargain.
  environments = {
    for platform, kinds in local.kinds : platform => platform == local.platform && local.on_spot ? kinds : [kinds[1]]
  }

  # Both ceilings together are maximum_vcpus. Spot has three quarters of it; On-Demand behind it the rest, which takes the
  # largest task. Whether Batch goes on to the second environment when Fargate Spot has no capacity, AWS does not promise.
  # On EC2 it may go beyond by one instance.
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

  # A job that can never run leaves the queue after this; it is also what an execution waits: queue_seconds in
  # workflow/settings.py.
  queue_seconds = 3600
}

resource "aws_batch_compute_environment" "tasks" {
  for_each = toset(flatten(values(local.kinds)))

  # The prefix, since a new one must be there before the queue lets go of the old one.
  name_prefix = "${local.name}-${lower(replace(each.key, "_", "-"))}-"
  type        = "MANAGED"
  state       = "ENABLED"

  compute_resources {
    type               = each.key
    max_vcpus          = local.ceilings[each.key]
    subnets            = aws_subnet.private[*].id
    security_group_ids = [aws_security_group.tasks.id]

    # What is kept running must be what jobs are offered first, or nothing would come to it.
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

  # Other instance types, another launch template or image, other subnets: Batch replaces the instances, which it does in
  # place for the strategies above and the role of its own. It waits for their jobs half an hour unless told otherwise; an
  # attempt may take longer.
  dynamic "update_policy" {
    for_each = startswith(each.key, "FARGATE") ? [] : [min(360, 2 * local.longest_minutes)] # 360 is the provider's most

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
  # Where what starts now is sent.
  job_queue_arn = aws_batch_job_queue.tasks[local.platform].arn
}
