# Every metric of an alarm or of the dashboard is one that our code or the service emits.

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

run "with_aurora" {
  assert {
    condition = alltrue([
      for metric in flatten([for alarm in aws_cloudwatch_metric_alarm.main : [for query in alarm.metric_query : [for metric in query.metric : metric]]]) :
      metric.namespace != "ratesflow" || strcontains(file("../loader/runtime/metrics.py"), "    \"${metric.metric_name}\": \"")
    ])
    error_message = "alarms of tasks watch what loader/runtime/metrics.py writes"
  }

  assert {
    condition = alltrue([
      for metric in flatten([for alarm in aws_cloudwatch_metric_alarm.main : [for query in alarm.metric_query : [for metric in query.metric : metric]]]) :
      metric.namespace != "ratesflow/api" || strcontains(file("../api/server/metrics.py"), "    \"${metric.metric_name}\": \"")
    ])
    error_message = "alarms of the API use metrics that api/server/metrics.py writes"
  }

  assert {
    condition = alltrue([
      for line in flatten([for widget in jsondecode(aws_cloudwatch_dashboard.main[0].dashboard_body).widgets : [for line in try(widget.properties.metrics, []) : "${line[0]} ${line[1]}"]]) :
      !startswith(line, "ratesflow ") || strcontains(file("../loader/runtime/metrics.py"), "    \"${split(" ", line)[1]}\": \"")
    ])
    error_message = "the dashboard shows of tasks what loader/runtime/metrics.py writes"
  }

  assert {
    condition = alltrue([
      for line in flatten([for widget in jsondecode(aws_cloudwatch_dashboard.main[0].dashboard_body).widgets : [for line in try(widget.properties.metrics, []) : "${line[0]} ${line[1]}"]]) :
      !startswith(line, "ratesflow/api ") || strcontains(file("../api/server/metrics.py"), "    \"${split(" ", line)[1]}\": \"")
    ])
    error_message = "the dashboard shows API metrics that api/server/metrics.py writes"
  }

  # A metric that nobody looks at costs as much as any other.
  assert {
    condition = length(setsubtract(
      [for match in regexall("(?m)^    \"([A-Za-z]+)\": \"", file("../loader/runtime/metrics.py")) : match[0]],
      flatten([for widget in jsondecode(aws_cloudwatch_dashboard.main[0].dashboard_body).widgets : [for line in try(widget.properties.metrics, []) : line[1] if line[0] == "ratesflow"]]),
    )) == 0
    error_message = "every metric of tasks is on the dashboard"
  }

  # The names are those of the user guides: "Monitoring Step Functions metrics", "CloudWatch metrics for Amazon SQS",
  # "Lambda function metrics", "CloudWatch metrics for your Application Load Balancer", "CloudWatch metrics for Aurora",
  # "Amazon ECS service utilization", "AWS Fargate usage metrics".
  assert {
    condition = length(setsubtract(
      concat(
        flatten([for alarm in aws_cloudwatch_metric_alarm.main : [for query in alarm.metric_query : [for metric in query.metric : "${metric.namespace} ${metric.metric_name}" if startswith(metric.namespace, "AWS/")]]]),
        flatten([for widget in jsondecode(aws_cloudwatch_dashboard.main[0].dashboard_body).widgets : [for line in try(widget.properties.metrics, []) : "${line[0]} ${line[1]}" if startswith(line[0], "AWS/")]]),
      ),
      [
        "AWS/States ExecutionThrottled", "AWS/States ThrottledEvents",
        "AWS/States ExecutionTime", "AWS/States ExecutionsAborted", "AWS/States ExecutionsFailed", "AWS/States ExecutionsStarted",
        "AWS/States ExecutionsSucceeded", "AWS/States ExecutionsTimedOut",
        "AWS/SQS ApproximateAgeOfOldestMessage", "AWS/SQS ApproximateNumberOfMessagesVisible",
        "AWS/Lambda Errors", "AWS/Lambda Throttles",
        "AWS/ApplicationELB HTTPCode_ELB_5XX_Count", "AWS/ApplicationELB HTTPCode_Target_5XX_Count",
        "AWS/ApplicationELB HealthyHostCount", "AWS/ApplicationELB RequestCount", "AWS/ApplicationELB TargetResponseTime",
        "AWS/RDS ACUUtilization", "AWS/RDS AuroraReplicaLagMaximum", "AWS/RDS CPUUtilization", "AWS/RDS DatabaseConnections",
        "AWS/RDS FreeableMemory", "AWS/RDS VolumeBytesUsed", "AWS/RDS VolumeReadIOPs", "AWS/RDS VolumeWriteIOPs",
        "AWS/ECS CPUUtilization", "AWS/ECS MemoryUtilization",
        "AWS/Usage ResourceCount",
      ],
    )) == 0
    error_message = "every metric of a service is one that it emits"
  }
}

run "with_an_instance" {
  # A separate environment: an existing one keeps its kind of database.
  state_key = "instance"

  variables {
    aurora   = false
    rotation = false
  }

  # "Amazon CloudWatch metrics for Amazon RDS".
  assert {
    condition = length(setsubtract(
      flatten([for alarm in aws_cloudwatch_metric_alarm.main : [for query in alarm.metric_query : [for metric in query.metric : metric.metric_name if metric.namespace == "AWS/RDS"]]]),
      ["CPUUtilization", "DatabaseConnections", "FreeStorageSpace", "FreeableMemory", "ReadIOPS", "WriteIOPS"],
    )) == 0
    error_message = "an instance has no metrics of a cluster"
  }

  assert {
    condition     = length(setintersection(keys(aws_cloudwatch_metric_alarm.main), ["database-capacity", "replica-lag", "rotation-failed"])) == 0
    error_message = "there are no alarms for what does not exist"
  }
}

run "quotas_and_silence" {
  command = plan

  variables {
    compute               = "fargate-spot"
    nothing_arrived_hours = 48
  }

  assert {
    condition = {
      for name in ["fargate-quota", "fargate-spot-quota"] : name => [
        for query in aws_cloudwatch_metric_alarm.main[name].metric_query : query.expression == null ? [for metric in query.metric : metric.dimensions.Class][0] : query.expression
      ]
      } == {
      fargate-quota      = ["100 * used / SERVICE_QUOTA(used)", "Standard/OnDemand"]
      fargate-spot-quota = ["100 * used / SERVICE_QUOTA(used)", "Standard/Spot"]
    }
    error_message = "the account's usage is compared with its quota"
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.main["nothing-arrived"].evaluation_periods == 48 &&
      aws_cloudwatch_metric_alarm.main["nothing-arrived"].comparison_operator == "LessThanThreshold" &&
      aws_cloudwatch_metric_alarm.main["nothing-arrived"].treat_missing_data == "breaching"
    )
    error_message = "a missing metric raises the alarm too"
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.main : length(distinct([for query in alarm.metric_query : query.id])) == length(alarm.metric_query)])
    error_message = "a metric and the expression must not have the same name"
  }
}

run "unused_platforms_have_no_quota_alarm" {
  command = plan

  assert {
    condition     = length(setintersection(keys(aws_cloudwatch_metric_alarm.main), ["fargate-spot-quota", "nothing-arrived"])) == 0
    error_message = "only the On-Demand quota is monitored, and nothing-arrived is off"
  }
}
