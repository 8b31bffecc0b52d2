# Alarms of the database monitor the busiest instance, not the average of busy and idle ones.

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


run "aurora" {
  command = plan

  assert {
    condition     = one([for query in aws_cloudwatch_metric_alarm.main["database-cpu"].metric_query : one(query.metric).dimensions]) == tomap({ DBClusterIdentifier = "ratesflow-test", Role = "WRITER" })
    error_message = "idle readers do not hide a busy writer"
  }

  assert {
    condition     = one([for query in aws_cloudwatch_metric_alarm.main["readers-cpu"].metric_query : [one(query.metric).dimensions.Role, one(query.metric).stat]]) == ["READER", "Maximum"]
    error_message = "an idle reader does not hide a busy one"
  }

  # The average of a cluster covers all its instances. VolumeReadIOPs and VolumeWriteIOPs are those of its one volume.
  assert {
    condition = alltrue(flatten([
      for name, alarm in aws_cloudwatch_metric_alarm.main : [
        for query in alarm.metric_query : [
          for metric in query.metric : metric.stat != "Average" || startswith(metric.metric_name, "Volume") || can(metric.dimensions.Role)
          if metric.namespace == "AWS/RDS"
        ]
      ]
    ]))
    error_message = "no alarm uses the average of several instances"
  }
}

run "aurora_without_readers" {
  command = plan

  variables {
    aurora_readers = 0
  }

  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.main), "readers-cpu")
    error_message = "without readers there are no alarms for them"
  }
}

run "an_instance" {
  command = plan

  variables {
    aurora = false
  }

  assert {
    condition     = one([for query in aws_cloudwatch_metric_alarm.main["database-cpu"].metric_query : one(query.metric).dimensions]) == tomap({ DBInstanceIdentifier = "ratesflow-test" }) && !contains(keys(aws_cloudwatch_metric_alarm.main), "readers-cpu")
    error_message = "a single instance has no role in its dimensions"
  }
}
