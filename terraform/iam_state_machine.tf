# What the state machine may do: run the tasks of a batch, read and write results/, notify.

resource "aws_iam_role" "state_machine" {
  name = "${local.global_name}-state-machine"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "states.amazonaws.com" }
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "${local.state_machine_arn}*" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "state_machine" {
  name = "ingestion"
  role = aws_iam_role.state_machine.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "Submit"
        Effect = "Allow"
        Action = "batch:SubmitJob"
        Resource = concat(
          # Running executions submit to the queue that they began with.
          [for queue in aws_batch_job_queue.tasks : queue.arn],
          [for task in local.batch_tasks : "${local.job_definition_arn}/${local.name}-${task}"],
          [for task in local.batch_tasks : "${local.job_definition_arn}/${local.name}-${task}:*"],
        )
      },
      {
        Sid      = "Describe" # AWS Batch does not support resources for it
        Effect   = "Allow"
        Action   = "batch:DescribeJobs"
        Resource = "*"
      },
      {
        Sid      = "Terminate" # job IDs do not show whose jobs they are
        Effect   = "Allow"
        Action   = "batch:TerminateJob"
        Resource = "arn:${local.partition}:batch:${local.region}:${local.account}:job/*"
      },
      {
        Sid      = "WaitForJobs" # how .sync detects the end of a job
        Effect   = "Allow"
        Action   = ["events:PutTargets", "events:PutRule", "events:DescribeRule"]
        Resource = "arn:${local.partition}:events:${local.region}:${local.account}:rule/StepFunctionsGetEventsForBatchJobsRule"
      },
      {
        Sid      = "Results"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject"]
        Resource = "${aws_s3_bucket.batches.arn}/results/*"
      },
      {
        Sid      = "Missing" # a missing result is then NoSuchKey, not AccessDenied
        Effect   = "Allow"
        Action   = "s3:ListBucket"
        Resource = aws_s3_bucket.batches.arn
      },
      {
        Sid      = "Notify"
        Effect   = "Allow"
        Action   = "sns:Publish"
        Resource = aws_sns_topic.notifications.arn
      },
      {
        Sid      = "Key"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = aws_kms_key.main.arn
      },
      {
        Sid    = "Logs" # AWS Step Functions Developer Guide, "Using CloudWatch Logs": these do not support resources
        Effect = "Allow"
        Action = [
          "logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery",
          "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups",
        ]
        Resource = "*"
      },
      {
        Sid      = "Traces"
        Effect   = "Allow"
        Action   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets"]
        Resource = "*"
      },
    ]
  })
}
