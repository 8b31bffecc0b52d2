# Variables that change in a running environment: running work keeps what it began with.

mock_provider "aws" {
  source = "./tests/mocks"
}

override_module {
  target  = module.environment
  outputs = { name = "test" }
}

override_resource {
  target = aws_batch_job_queue.tasks["ec2"]
  values = { arn = "arn:aws:batch:eu-central-1:123456789012:job-queue/ec2" }
}

override_resource {
  target = aws_batch_compute_environment.tasks["FARGATE"]
  values = { arn = "arn:aws:batch:eu-central-1:123456789012:compute-environment/fargate" }
}

override_resource {
  target = aws_batch_compute_environment.tasks["FARGATE_SPOT"]
  values = { arn = "arn:aws:batch:eu-central-1:123456789012:compute-environment/fargate-spot" }
}

variables {
  loader_image  = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ratesflow/loader@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  api_image     = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ratesflow/api@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
  alarm_emails  = ["oncall@example.com"]
  plain_http    = true
  maximum_vcpus = 16
  zones         = 2
}

run "fargate" {
  assert {
    condition     = sort(keys(aws_batch_compute_environment.tasks)) == tolist(["FARGATE", "FARGATE_SPOT"])
    error_message = "both environments exist before a queue needs them: they cost nothing without jobs"
  }

  assert {
    condition     = [for order in aws_batch_job_queue.tasks["fargate"].compute_environment_order : element(split("/", order.compute_environment), 1)] == ["fargate"]
    error_message = "only On-Demand is used"
  }

  assert {
    condition     = aws_batch_compute_environment.tasks["FARGATE"].compute_resources[0].max_vcpus == 16
    error_message = "it may use all vCPUs"
  }
}

run "then_spot" {
  variables {
    compute = "fargate-spot"
  }

  assert {
    condition     = [for order in aws_batch_job_queue.tasks["fargate"].compute_environment_order : "${order.order} ${element(split("/", order.compute_environment), 1)}"] == ["1 fargate-spot", "2 fargate"]
    error_message = "Spot comes first, in the same queue"
  }

  assert {
    condition     = { for kind, environment in aws_batch_compute_environment.tasks : kind => environment.compute_resources[0].max_vcpus } == { FARGATE = 4, FARGATE_SPOT = 12 }
    error_message = "both together may use maximum_vcpus"
  }
}

run "then_ec2" {
  variables {
    compute   = "ec2"
    ec2_queue = true
  }

  assert {
    condition     = { for platform, queue in aws_batch_job_queue.tasks : platform => queue.name } == { ec2 = "ratesflow-test-ec2", fargate = "ratesflow-test" }
    error_message = "the queue of running executions remains, with its own platform only"
  }

  assert {
    condition     = [for order in aws_batch_job_queue.tasks["fargate"].compute_environment_order : element(split("/", order.compute_environment), 1)] == ["fargate"]
    error_message = "jobs that wait there run there"
  }

  assert {
    condition = alltrue([
      for text in [aws_sfn_state_machine.ingestion.definition, aws_scheduler_schedule.task["gc"].target[0].input, aws_ssm_parameter.address["job-queue"].value] :
      strcontains(text, "job-queue/ec2") && !strcontains(text, "job-queue/queue")
    ])
    error_message = "executions, schedules and the command line use EC2 for new jobs"
  }

  assert {
    condition = alltrue([
      for policy in [aws_iam_role_policy.state_machine.policy, aws_iam_role_policy.scheduler.policy, aws_cloudwatch_event_rule.task_failed[0].event_pattern] :
      strcontains(policy, "job-queue/ec2") && strcontains(policy, "job-queue/queue")
    ])
    error_message = "both queues may be used, and have alarms"
  }
}

run "then_fargate_again" {
  variables {
    compute   = "fargate"
    ec2_queue = true
  }

  assert {
    condition     = length(aws_batch_job_queue.tasks) == 2 && length(aws_launch_template.instances) == 1
    error_message = "EC2 remains until nothing runs there"
  }

  assert {
    condition     = strcontains(aws_sfn_state_machine.ingestion.definition, "job-queue/queue")
    error_message = "new jobs use Fargate"
  }
}

run "another_cidr_range" {
  command = plan

  variables {
    cidr = "10.30.0.0/16"
  }

  expect_failures = [aws_vpc.main]
}

run "a_third_zone" {
  command = plan

  variables {
    zones = 3
  }
}
