# Alarms of the API: its responses and the age of its data.

locals {
  by_target = { LoadBalancer = aws_lb.api.arn_suffix, TargetGroup = aws_lb_target_group.api.arn_suffix }
  by_lb     = { LoadBalancer = aws_lb.api.arn_suffix }
  # The dimensions of the API's metrics; see api/server/metrics.py.
  by_service = { Environment = local.environment, Service = "api" }

  api_alarms = {
    api-errors = {
      summary   = "more than 1 % of responses were 5xx (percent)."
      threshold = 1
      periods   = 3
      seconds   = 60
      metrics = {
        target   = { namespace = "AWS/ApplicationELB", name = "HTTPCode_Target_5XX_Count", dimensions = local.by_lb, stat = "Sum" }
        balancer = { namespace = "AWS/ApplicationELB", name = "HTTPCode_ELB_5XX_Count", dimensions = local.by_lb, stat = "Sum" }
        requests = { namespace = "AWS/ApplicationELB", name = "RequestCount", dimensions = local.by_lb, stat = "Sum" }
      }
      expression = "100 * (FILL(target, 0) + FILL(balancer, 0)) / requests"
    }
    api-latency = {
      summary   = "1 % of requests took longer than half a second (seconds)."
      threshold = 0.5
      periods   = 3
      seconds   = 60
      metrics = {
        time = { namespace = "AWS/ApplicationELB", name = "TargetResponseTime", dimensions = local.by_lb, stat = "p99" }
      }
    }
    no-healthy-target = {
      summary    = "the API has no healthy task."
      threshold  = 1
      comparison = "LessThanThreshold"
      missing    = "breaching"
      periods    = 3
      seconds    = 60
      metrics = {
        healthy = { namespace = "AWS/ApplicationELB", name = "HealthyHostCount", dimensions = local.by_target, stat = "Minimum" }
      }
    }
    data-stale = {
      # A worker without requests does not poll, so the freshest worker counts, and only while clients request rates.
      summary   = "clients request rates, but no worker of the API has reached the database for a minute (seconds)."
      threshold = 60
      periods   = 3
      seconds   = 60
      metrics = {
        age    = { namespace = "ratesflow/api", name = "DataAge", dimensions = local.by_service, stat = "Minimum" }
        hits   = { namespace = "ratesflow/api", name = "CacheHits", dimensions = local.by_service, stat = "Sum" }
        misses = { namespace = "ratesflow/api", name = "CacheMisses", dimensions = local.by_service, stat = "Sum" }
      }
      expression = "IF(hits + misses > 0, age, 0)"
    }
    api-unavailable = {
      summary   = "the API sent more than 10 responses per minute with 503: the database is unavailable, or everything is busy."
      threshold = 10
      periods   = 3
      seconds   = 60
      metrics = {
        unavailable = { namespace = "ratesflow/api", name = "Unavailable", dimensions = local.by_service, stat = "Sum" }
      }
    }
  }
}
