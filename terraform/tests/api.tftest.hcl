# The API and monitoring: no response is lost, HTTPS with a certificate, monitoring by one variable.

mock_provider "aws" {
  source = "./tests/mocks"
}

override_module {
  target  = module.environment
  outputs = { name = "test" }
}

variables {
  loader_image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ratesflow/loader@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  api_image    = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ratesflow/api@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
  alarm_emails = ["oncall@example.com"]
  plain_http   = true
}

run "with_http_and_monitoring" {
  assert {
    condition     = aws_ecs_service.api.deployment_minimum_healthy_percent == 100 && aws_ecs_service.api.deployment_circuit_breaker[0].rollback
    error_message = "new tasks start before old ones stop, and are rolled back if they are unhealthy"
  }

  assert {
    condition     = aws_ecs_service.api.force_new_deployment
    error_message = "another capacity provider, as with api_spot, must not replace the service"
  }

  assert {
    condition     = aws_lb_target_group.api.health_check[0].path == "/health/started"
    error_message = "a task serves once it has reached the database, and is not replaced while the database is unavailable"
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.api.container_definitions)[0].image == var.api_image
    error_message = "the task runs the given image, by digest"
  }

  assert {
    condition     = [for secret in jsondecode(aws_ecs_task_definition.api.container_definitions)[0].secrets : secret.name] == ["DATABASE_SECRET"]
    error_message = "the secret is injected"
  }

  assert {
    condition     = aws_lb_listener.http.default_action[0].type == "forward" && length(aws_lb_listener.https) == 0 && length(aws_vpc_security_group_ingress_rule.public) == 1
    error_message = "without a certificate only HTTP is served"
  }

  assert {
    condition     = length(aws_cloudwatch_dashboard.main) == 1 && length(aws_cloudwatch_metric_alarm.main) > 15
    error_message = "there are a dashboard and alarms"
  }

  assert {
    condition     = alltrue([for name, alarm in aws_cloudwatch_metric_alarm.main : startswith(alarm.alarm_description, "docs/operations.md#${name}: ")])
    error_message = "each alarm begins with its section of the runbook"
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.main : length(alarm.alarm_actions) == 1 && length(alarm.ok_actions) == 1])
    error_message = "each alarm sends a notification when it is raised and when it ends"
  }

  assert {
    condition     = local.job_environment.RATESFLOW_METRICS == "true" && local.api_environment.RATESFLOW_API_METRICS_SECONDS == "60"
    error_message = "tasks and API write metrics"
  }

  assert {
    condition     = length(aws_budgets_budget.month) == 0
    error_message = "there is no budget unless one is set"
  }
}

run "alarms_without_recipient" {
  command = plan

  variables {
    alarm_emails = []
  }

  expect_failures = [var.alarm_emails]
}

run "alarms_to_a_pager" {
  command = plan

  variables {
    alarm_emails = []
    alarm_urls   = ["https://pager.example.com/ratesflow"]
  }

  assert {
    condition     = [for each in aws_sns_topic_subscription.alarms_urls : [each.protocol, each.endpoint]] == [["https", "https://pager.example.com/ratesflow"]]
    error_message = "alarms are posted to the pager"
  }
}

run "budget_without_recipient" {
  command = plan

  variables {
    monitoring         = false
    alarm_emails       = []
    monthly_budget_usd = 100
  }

  expect_failures = [check.budget]
}

run "deletion_protection_requires_https" {
  command = plan

  variables {
    plain_http = false
  }

  expect_failures = [var.certificate_arn]
}

run "no_deletion_protection_allows_http" {
  command = plan

  variables {
    plain_http          = false
    deletion_protection = false
  }
}

run "unknown_alarm" {
  command = plan

  variables {
    alarm_thresholds = { api-latnecy = 1 }
  }

  expect_failures = [var.alarm_thresholds]
}

run "https_without_monitoring" {
  variables {
    certificate_arn    = "arn:aws:acm:eu-central-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
    api_domain         = "rates.example.com"
    api_spot           = true
    api_allowed_cidrs  = ["192.0.2.0/24"]
    monitoring         = false
    monthly_budget_usd = 100
  }

  assert {
    condition     = aws_lb_listener.http.default_action[0].type == "redirect" && aws_lb_listener.http.default_action[0].redirect[0].protocol == "HTTPS" && aws_lb_listener.https[0].certificate_arn == var.certificate_arn
    error_message = "HTTP redirects to HTTPS"
  }

  assert {
    condition     = aws_ssm_parameter.address["api-url"].value == "https://rates.example.com"
    error_message = "the command line uses the certificate's domain"
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.public : rule.cidr_ipv4 == "192.0.2.0/24"]) && length(aws_vpc_security_group_ingress_rule.public) == 2
    error_message = "the allowed ranges reach both listeners"
  }

  assert {
    condition     = tolist(aws_ecs_service.api.capacity_provider_strategy)[0].capacity_provider == "FARGATE_SPOT"
    error_message = "tasks run on Spot"
  }

  assert {
    condition = (
      length(aws_cloudwatch_dashboard.main) == 0 && length(aws_cloudwatch_metric_alarm.main) == 0 &&
      length(aws_cloudwatch_event_rule.task_failed) == 0 && length(aws_iam_role.rds_monitoring) == 0 &&
      length(aws_flow_log.main) == 0 && length(aws_cloudwatch_log_group.flow) == 0
    )
    error_message = "without monitoring there is no dashboard, no alarm and no flow log"
  }

  assert {
    condition     = !aws_sfn_state_machine.ingestion.tracing_configuration[0].enabled && aws_lambda_function.trigger.tracing_config[0].mode == "PassThrough"
    error_message = "without monitoring nothing is traced"
  }

  assert {
    condition     = local.job_environment.RATESFLOW_METRICS == "false" && local.api_environment.RATESFLOW_API_METRICS_SECONDS == "0" && tolist(aws_ecs_cluster.api.setting)[0].value == "disabled"
    error_message = "without monitoring nothing writes metrics"
  }

  assert {
    condition     = aws_budgets_budget.month[0].limit_amount == "100" && length(aws_sns_topic.alarms) == 1
    error_message = "a budget works without monitoring"
  }
}
