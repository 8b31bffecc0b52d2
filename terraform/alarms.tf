# The alarms. Their definitions are in alarms_*.tf. Each description begins with the link to its section of the runbook.

locals {
  alarms = {
    for name, alarm in merge(local.workflow_alarms, local.api_alarms, local.database_alarms) : name => alarm
    if var.monitoring && try(alarm.when, true)
  }
}

resource "aws_cloudwatch_metric_alarm" "main" {
  for_each = local.alarms

  alarm_name          = "${local.name}-${each.key}"
  alarm_description   = "docs/operations.md#${each.key}: ${each.value.summary}"
  comparison_operator = try(each.value.comparison, "GreaterThanThreshold")
  threshold           = try(var.alarm_thresholds[each.key], each.value.threshold)
  evaluation_periods  = try(each.value.periods, 1)
  datapoints_to_alarm = try(each.value.periods, 1)
  treat_missing_data  = try(each.value.missing, "notBreaching")
  alarm_actions       = [aws_sns_topic.alarms[0].arn]
  ok_actions          = [aws_sns_topic.alarms[0].arn]

  dynamic "metric_query" {
    for_each = each.value.metrics

    content {
      id          = metric_query.key
      return_data = !can(each.value.expression)

      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.name
        dimensions  = metric_query.value.dimensions
        stat        = metric_query.value.stat
        period      = try(each.value.seconds, 300)
      }
    }
  }

  dynamic "metric_query" {
    for_each = try([each.value.expression], [])

    content {
      id          = "all"
      label       = each.key
      expression  = metric_query.value
      return_data = true
    }
  }
}

resource "aws_sns_topic" "alarms" {
  count = var.monitoring || var.monthly_budget_usd > 0 ? 1 : 0

  name              = "${local.name}-alarms"
  kms_master_key_id = aws_kms_key.main.arn
}

resource "aws_sns_topic_policy" "alarms" {
  count = length(aws_sns_topic.alarms)

  arn = aws_sns_topic.alarms[0].arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"] }
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.alarms[0].arn
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      },
      {
        Sid       = "Events" # EventBridge did not support conditions for topics when this was written
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.alarms[0].arn
      },
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.alarms[0].arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_sns_topic_subscription" "alarms" {
  for_each = length(aws_sns_topic.alarms) > 0 ? toset(var.alarm_emails) : toset([])

  topic_arn = aws_sns_topic.alarms[0].arn
  protocol  = "email"
  endpoint  = each.key
}

resource "aws_sns_topic_subscription" "alarms_urls" {
  for_each = length(aws_sns_topic.alarms) > 0 ? toset(var.alarm_urls) : toset([])

  topic_arn = aws_sns_topic.alarms[0].arn
  protocol  = "https"
  endpoint  = each.key
}

check "budget" {
  assert {
    condition     = var.monthly_budget_usd == 0 || length(var.alarm_emails) + length(var.alarm_urls) > 0
    error_message = "monthly_budget_usd is set, but nobody is notified when it is exceeded: set alarm_emails or alarm_urls."
  }
}

resource "aws_budgets_budget" "month" {
  count = var.monthly_budget_usd > 0 ? 1 : 0

  name         = local.global_name
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.monthly_budget_usd)
  limit_unit   = "USD"

  # The budget counts nothing until the tag is activated for cost allocation: once, by the account that pays, a day after its
  # first use (docs/deploy.md, step 3). Terraform cannot do this: before that day the tag is unknown to AWS. Without a tag the
  # budget would count the whole account.
  cost_filter {
    name   = "TagKeyValue"
    values = [format("user:Environment$%s", local.environment)]
  }

  notification {
    comparison_operator       = "GREATER_THAN"
    threshold                 = 80
    threshold_type            = "PERCENTAGE"
    notification_type         = "FORECASTED"
    subscriber_sns_topic_arns = [aws_sns_topic.alarms[0].arn]
  }

  notification {
    comparison_operator       = "GREATER_THAN"
    threshold                 = 80
    threshold_type            = "PERCENTAGE"
    notification_type         = "ACTUAL"
    subscriber_sns_topic_arns = [aws_sns_topic.alarms[0].arn]
  }
}
