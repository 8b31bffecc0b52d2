# The API: an ECS service on Fargate, behind the load balancer.

locals {
  api_port = 3000

  api_environment = merge(
    {
      PORT                          = tostring(local.api_port)
      RATESFLOW_ENVIRONMENT         = local.environment
      RATESFLOW_API_WORKERS         = tostring(var.api_workers)
      RATESFLOW_API_METRICS_SECONDS = var.monitoring ? "60" : "0"
      DATABASE_HOST                 = local.reader_host
    },
    # Aurora pauses only without connections.
    local.pausing ? { RATESFLOW_API_IDLE_SECONDS = "60" } : {},
    var.database_ca_file == null ? {} : { DATABASE_SSLROOTCERT = var.database_ca_file },
    var.api_environment,
  )
}

resource "aws_cloudwatch_log_group" "api" {
  name              = "/ratesflow/${local.environment}/api"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.main.arn
}

resource "aws_ecs_cluster" "api" {
  #checkov:skip=CKV_AWS_65:Container Insights follow the variable monitoring.
  name = local.name

  setting {
    name  = "containerInsights"
    value = var.monitoring ? "enabled" : "disabled"
  }

  depends_on = [aws_cloudwatch_log_group.insights]
}

# Container Insights would create it without our key.
resource "aws_cloudwatch_log_group" "insights" {
  count = var.monitoring ? 1 : 0

  name              = "/aws/ecs/containerinsights/${local.name}/performance"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.main.arn
}

resource "aws_ecs_cluster_capacity_providers" "api" {
  cluster_name       = aws_ecs_cluster.api.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

# The API calls no AWS service, so its role has no permissions.
resource "aws_iam_role" "api" {
  name               = "${local.global_name}-api"
  assume_role_policy = local.ecs_tasks_assume
}

resource "aws_ecs_task_definition" "api" {
  family                   = "${local.name}-api"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.api_cpu
  memory                   = var.api_memory
  task_role_arn            = aws_iam_role.api.arn
  execution_role_arn       = aws_iam_role.execution["api"].arn

  # A rollback of the service needs the previous revision.
  skip_destroy = true

  runtime_platform {
    cpu_architecture        = "X86_64"
    operating_system_family = "LINUX"
  }

  container_definitions = jsonencode([{
    name                   = "api"
    image                  = var.api_image
    essential              = true
    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { drop = ["ALL"] } }
    portMappings           = [{ containerPort = local.api_port, protocol = "tcp" }]
    environment            = [for name, value in local.api_environment : { name = name, value = value }]
    secrets                = [{ name = "DATABASE_SECRET", valueFrom = aws_secretsmanager_secret.login["reader"].arn }]
    # ECS ignores the image's health check. This one only checks that the process responds: a new container would not fix the database.
    healthCheck = { command = ["CMD", "python", "-P", "-m", "ratesflow.api.healthcheck"], interval = 10, timeout = 5, retries = 3, startPeriod = 10 }
    # The server stops its workers within 25 seconds of SIGTERM; by then the load balancer has drained the target.
    stopTimeout = 30
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.api.name
        awslogs-region        = local.region
        awslogs-stream-prefix = "api"
        mode                  = "non-blocking" # a slow log must not delay responses
        max-buffer-size       = "4m"
      }
    }
  }])
}

resource "aws_ecs_service" "api" {
  name                          = "api"
  cluster                       = aws_ecs_cluster.api.id
  task_definition               = aws_ecs_task_definition.api.arn
  desired_count                 = var.api_minimum_tasks
  platform_version              = "1.4.0"
  propagate_tags                = "SERVICE"
  enable_ecs_managed_tags       = true
  availability_zone_rebalancing = "ENABLED"

  # Start new tasks before old ones stop, so that no response is lost.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  # Without this setting the provider replaces the whole service when capacity_provider_strategy changes, which is an outage.
  # With it, each change of the service restarts its tasks, as most changes do anyway; a plan without changes stays empty.
  force_new_deployment = true

  # In a new environment the tables are created minutes after the service: see outputs.tf, migration.
  health_check_grace_period_seconds = 300

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  capacity_provider_strategy {
    capacity_provider = var.api_spot ? "FARGATE_SPOT" : "FARGATE"
    weight            = 1
  }

  network_configuration {
    subnets          = aws_subnet.private[*].id
    security_groups  = [aws_security_group.api.id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.api.arn
    container_name   = "api"
    container_port   = local.api_port
  }

  lifecycle {
    ignore_changes = [desired_count] # managed by autoscaling
  }

  depends_on = [aws_lb_listener.http, aws_lb_listener.https, aws_iam_role_policy.execution, aws_ecs_cluster_capacity_providers.api]
}
