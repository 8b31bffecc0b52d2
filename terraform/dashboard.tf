# One page, from the top down: what customers see, where a batch spends its time, what the database does.

locals {
  per_task = { for task in ["validate", "load", "commit"] : task => ["Environment", local.environment, "Task", task] }
  here     = ["Environment", local.environment]
  service  = flatten([for name, value in local.by_service : [name, value]])
  database = flatten([for name, value in local.by_database : [name, value]])
  balancer = ["LoadBalancer", aws_lb.api.arn_suffix]
  machine  = ["StateMachineArn", local.state_machine_arn]

  # Each row: what it answers, and its graphs, each of them a title, a statistic and lines of [namespace, metric, dimensions…].
  rows = [
    {
      text = "## Do customers get answers?\nIf not, look at the row on the API, then at the database."
      graphs = [
        { title = "requests", stat = "Sum", lines = [concat(["AWS/ApplicationELB", "RequestCount"], local.balancer), concat(["AWS/ApplicationELB", "HTTPCode_Target_5XX_Count"], local.balancer), concat(["AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count"], local.balancer)] },
        { title = "response time, p99 (s)", stat = "p99", lines = [concat(["AWS/ApplicationELB", "TargetResponseTime"], local.balancer)] },
        { title = "healthy tasks", stat = "Minimum", lines = [concat(["AWS/ApplicationELB", "HealthyHostCount"], ["TargetGroup", aws_lb_target_group.api.arn_suffix], local.balancer)] },
      ]
    },
    {
      text = "## Do batches become visible?\nArrived, then executed, then an outcome."
      graphs = [
        { title = "outcomes", stat = "Sum", lines = [for outcome in ["committed", "rejected", "duplicate", "failed", "undone"] : concat(["ratesflow", "Batches"], local.here, ["Outcome", outcome])] },
        { title = "executions", stat = "Sum", lines = [for name in ["ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"] : concat(["AWS/States", name], local.machine)] },
        { title = "an execution, longest (ms)", stat = "Maximum", lines = [concat(["AWS/States", "ExecutionTime"], local.machine)] },
      ]
    },
    {
      text = "## Where is the time?\nWaiting for a place: raise maximum_vcpus. Validate or load: more shards, or larger tasks. Commit: look at the database."
      graphs = [
        { title = "waiting: events, then a place to run (s)", stat = "Maximum", lines = concat([["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", aws_sqs_queue.arrivals.name]], [for task, dimensions in local.per_task : concat(["ratesflow", "QueueWaitSeconds"], dimensions)]) },
        { title = "each step, longest (s)", stat = "Maximum", lines = [for task, dimensions in local.per_task : concat(["ratesflow", "Seconds"], dimensions)] },
        { title = "commit (ms)", stat = "Maximum", lines = [concat(["ratesflow", "CommitMilliseconds"], local.here)] },
      ]
    },
    {
      text = "## How much is it?"
      graphs = [
        { title = "rows", stat = "Sum", lines = concat([for task, dimensions in local.per_task : concat(["ratesflow", "Rows"], dimensions)], [concat(["ratesflow", "RejectedRows"], local.here)]) },
        { title = "bytes", stat = "Sum", lines = [for task in ["validate", "load"] : concat(["ratesflow", "Bytes"], local.per_task[task])] },
        { title = "batches that wait to be merged", stat = "Maximum", lines = [concat(["ratesflow", "UncompactedBatches"], local.here)] },
        { title = "pieces of upkeep left undone", stat = "Maximum", lines = [concat(["ratesflow", "Backlog"], local.here)] },
      ]
    },
    {
      text = "## What is the API busy with?\nMany read, few known: the cache is too small or batches come all the time. Waiting for connections: more tasks, or readers."
      graphs = [
        { title = "responses by source", stat = "Sum", lines = [for name in ["CacheHits", "NotModified", "Coalesced", "CacheMisses", "Unavailable", "ClientErrors", "ServerErrors"] : concat(["ratesflow/api", name], local.service)] },
        { title = "latency inside, p99 (ms), and connections", stat = "p99", lines = [for name in ["Latency", "ConnectionsBusy", "ConnectionsWaited"] : concat(["ratesflow/api", name], local.service)] },
        { title = "cached responses, and the age of the data (s)", stat = "Maximum", lines = [for name in ["CacheEntries", "DataAge"] : concat(["ratesflow/api", name], local.service)] },
        { title = "processor and memory of tasks (%)", stat = "Average", lines = [for name in ["CPUUtilization", "MemoryUtilization"] : ["AWS/ECS", name, "ClusterName", aws_ecs_cluster.api.name, "ServiceName", aws_ecs_service.api.name]] },
      ]
    },
    {
      text = "## What is the database busy with?"
      graphs = [
        { title = "processor and capacity (%)", stat = "Maximum", lines = [for name in concat(["CPUUtilization"], var.aurora ? ["ACUUtilization"] : []) : concat(["AWS/RDS", name], local.database)] },
        { title = "connections", stat = "Maximum", lines = [concat(["AWS/RDS", "DatabaseConnections"], local.database)] },
        { title = "storage: reads and writes", stat = "Average", lines = [for name in var.aurora ? ["VolumeReadIOPs", "VolumeWriteIOPs"] : ["ReadIOPS", "WriteIOPS"] : concat(["AWS/RDS", name], local.database)] },
        { title = var.aurora ? "storage used (bytes), readers' lag (ms)" : "storage free (bytes)", stat = "Maximum", lines = [for name in var.aurora ? ["VolumeBytesUsed", "AuroraReplicaLagMaximum"] : ["FreeStorageSpace"] : concat(["AWS/RDS", name], local.database)] },
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
