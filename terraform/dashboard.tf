# One page, from top to bottom: requests, batches, where batches spend time, volume, API, database.

locals {
  per_task = { for task in ["validate", "load", "commit"] : task => ["Environment", local.environment, "Task", task] }
  here     = ["Environment", local.environment]
  service  = flatten([for name, value in local.by_service : [name, value]])
  database = flatten([for name, value in local.by_database : [name, value]])
  balancer = ["LoadBalancer", aws_lb.api.arn_suffix]
  machine  = ["StateMachineArn", local.state_machine_arn]

  # Each row has a text and graphs; each graph has a title, a statistic and lines of [namespace, metric, dimensions…].
  rows = [
    {
      text = "## Are requests served?\nIf not, check the rows *API load* and *Database load*."
      graphs = [
        { title = "Requests and 5xx responses", stat = "Sum", lines = [concat(["AWS/ApplicationELB", "RequestCount"], local.balancer), concat(["AWS/ApplicationELB", "HTTPCode_Target_5XX_Count"], local.balancer), concat(["AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count"], local.balancer)] },
        { title = "Response time, p99 (s)", stat = "p99", lines = [concat(["AWS/ApplicationELB", "TargetResponseTime"], local.balancer)] },
        { title = "Healthy API tasks", stat = "Minimum", lines = [concat(["AWS/ApplicationELB", "HealthyHostCount"], ["TargetGroup", aws_lb_target_group.api.arn_suffix], local.balancer)] },
      ]
    },
    {
      text = "## Do batches become visible?\nA file arrives, an execution runs, the batch has an outcome."
      graphs = [
        { title = "Batches by outcome", stat = "Sum", lines = [for outcome in ["committed", "rejected", "duplicate", "failed", "undone"] : concat(["ratesflow", "Batches"], local.here, ["Outcome", outcome])] },
        { title = "Executions", stat = "Sum", lines = [for name in ["ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"] : concat(["AWS/States", name], local.machine)] },
        { title = "Longest execution (ms)", stat = "Maximum", lines = [concat(["AWS/States", "ExecutionTime"], local.machine)] },
      ]
    },
    {
      text = "## Where do batches spend time?\nWaiting for capacity: raise maximum_vcpus. Validate or load: use more shards or larger tasks. Commit: check the database."
      graphs = [
        { title = "Longest wait: events, then tasks for capacity (s)", stat = "Maximum", lines = concat([["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", aws_sqs_queue.arrivals.name]], [for task, dimensions in local.per_task : concat(["ratesflow", "QueueWaitSeconds"], dimensions)]) },
        { title = "Longest run of each task (s)", stat = "Maximum", lines = [for task, dimensions in local.per_task : concat(["ratesflow", "Seconds"], dimensions)] },
        { title = "Longest commit (ms)", stat = "Maximum", lines = [concat(["ratesflow", "CommitMilliseconds"], local.here)] },
      ]
    },
    {
      text = "## Volume and backlog"
      graphs = [
        { title = "Rows", stat = "Sum", lines = concat([for task, dimensions in local.per_task : concat(["ratesflow", "Rows"], dimensions)], [concat(["ratesflow", "RejectedRows"], local.here)]) },
        { title = "Bytes", stat = "Sum", lines = [for task in ["validate", "load"] : concat(["ratesflow", "Bytes"], local.per_task[task])] },
        { title = "Uncompacted batches", stat = "Maximum", lines = [concat(["ratesflow", "UncompactedBatches"], local.here)] },
        { title = "Unfinished pieces of upkeep", stat = "Maximum", lines = [concat(["ratesflow", "Backlog"], local.here)] },
      ]
    },
    {
      text = "## API load\nMany CacheMisses, few CacheHits: the cache is too small, or commits are very frequent. Waiting for connections: add tasks or readers."
      graphs = [
        { title = "Responses by source", stat = "Sum", lines = [for name in ["CacheHits", "NotModified", "Coalesced", "CacheMisses", "Unavailable", "ClientErrors", "ServerErrors"] : concat(["ratesflow/api", name], local.service)] },
        { title = "Latency inside the service, p99 (ms), and connections", stat = "p99", lines = [for name in ["Latency", "ConnectionsBusy", "ConnectionsWaited"] : concat(["ratesflow/api", name], local.service)] },
        { title = "Cached responses, and age of the data (s)", stat = "Maximum", lines = [for name in ["CacheEntries", "DataAge"] : concat(["ratesflow/api", name], local.service)] },
        { title = "CPU and memory of tasks (%)", stat = "Average", lines = [for name in ["CPUUtilization", "MemoryUtilization"] : ["AWS/ECS", name, "ClusterName", aws_ecs_cluster.api.name, "ServiceName", aws_ecs_service.api.name]] },
      ]
    },
    {
      text = "## Database load"
      graphs = [
        { title = "CPU and capacity (%)", stat = "Maximum", lines = [for name in concat(["CPUUtilization"], var.aurora ? ["ACUUtilization"] : []) : concat(["AWS/RDS", name], local.database)] },
        { title = "Connections", stat = "Maximum", lines = [concat(["AWS/RDS", "DatabaseConnections"], local.database)] },
        { title = "Storage reads and writes", stat = "Average", lines = [for name in var.aurora ? ["VolumeReadIOPs", "VolumeWriteIOPs"] : ["ReadIOPS", "WriteIOPS"] : concat(["AWS/RDS", name], local.database)] },
        { title = var.aurora ? "Storage used (bytes), reader lag (ms)" : "Free storage (bytes)", stat = "Maximum", lines = [for name in var.aurora ? ["VolumeBytesUsed", "AuroraReplicaLagMaximum"] : ["FreeStorageSpace"] : concat(["AWS/RDS", name], local.database)] },
      ]
    },
  ]

  widgets = flatten([
    for number, row in local.rows : concat(
      [{ type = "text", x = 0, y = number * 8, width = 24, height = 2, properties = { markdown = row.text } }],
      [for place, graph in row.graphs : {
        type   = "metric"
        x      = place * floor(24 / length(row.graphs))
        y      = number * 8 + 2
        width  = floor(24 / length(row.graphs))
        height = 6
        properties = {
          title   = graph.title
          view    = "timeSeries"
          region  = local.region
          stat    = graph.stat
          period  = 60
          metrics = graph.lines
        }
      }],
    )
  ])
}

resource "aws_cloudwatch_dashboard" "main" {
  count = var.monitoring ? 1 : 0

  dashboard_name = local.global_name
  dashboard_body = jsonencode({ widgets = local.widgets })
}
