# Where tasks run: on Fargate, on Fargate Spot with On-Demand behind it, or on EC2.

locals {
  on_ec2 = startswith(var.compute, "ec2")

  # In the order in which the queue tries them.
  environments = {
    fargate      = ["FARGATE"]
    fargate-spot = ["FARGATE_SPOT", "FARGATE"]
    ec2          = ["EC2"]
    ec2-spot     = ["SPOT", "EC2"]
  }[var.compute]

  # A job that can never run leaves the queue after this; it is also what an execution waits: queue_seconds in
  # workflow/settings.py.
  queue_seconds = 3600
}

resource "aws_batch_compute_environment" "tasks" {
  for_each = toset(local.environments)

  # The prefix, since a new one must be there before the queue lets go of the old one.
  name_prefix = "${local.name}-${lower(replace(each.key, "_", "-"))}-"
  type        = "MANAGED"
  state       = "ENABLED"

  compute_resources {
    type               = each.key
    max_vcpus          = var.maximum_vcpus
    subnets            = aws_subnet.private[*].id
    security_group_ids = [aws_security_group.tasks.id]

    min_vcpus           = local.on_ec2 ? 0 : null
    instance_type       = local.on_ec2 ? var.instance_types : null
    instance_role       = local.on_ec2 ? aws_iam_instance_profile.instances[0].arn : null
    allocation_strategy = local.on_ec2 ? (each.key == "SPOT" ? "SPOT_PRICE_CAPACITY_OPTIMIZED" : "BEST_FIT_PROGRESSIVE") : null

    dynamic "ec2_configuration" {
      for_each = local.on_ec2 ? [local.gpus ? "ECS_AL2023_NVIDIA" : "ECS_AL2023"] : []

      content {
        image_type = ec2_configuration.value
      }
    }

    dynamic "launch_template" {
      for_each = aws_launch_template.instances

      content {
        launch_template_id = launch_template.value.id
        version            = launch_template.value.latest_version
      }
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_batch_job_queue" "tasks" {
  name     = local.name
  state    = "ENABLED"
  priority = 1

  dynamic "compute_environment_order" {
    for_each = local.environments

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

# Instances of EC2, where tasks need more than Fargate has.

resource "aws_launch_template" "instances" {
  count = local.on_ec2 ? 1 : 0

  name_prefix            = "${local.name}-tasks-"
  update_default_version = true

  # A hop limit of one keeps containers from the instance's own role: they have that of their task.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_type           = "gp3"
      volume_size           = max(50, var.scratch_gib)
      encrypted             = true
      delete_on_termination = true
    }
  }

  tag_specifications {
    resource_type = "instance"
    tags          = merge(local.tags, { Name = "${local.name}-tasks" })
  }
}

resource "aws_iam_role" "instances" {
  count = local.on_ec2 ? 1 : 0

  name = "${local.global_name}-instances"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "instances" {
  count = local.on_ec2 ? 1 : 0

  role       = aws_iam_role.instances[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
}

resource "aws_iam_instance_profile" "instances" {
  count = local.on_ec2 ? 1 : 0

  name = "${local.global_name}-instances"
  role = aws_iam_role.instances[0].name
}
