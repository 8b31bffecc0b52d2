# The permissions for `ratesflow --env NAME`, and no others: attach the policy to people's roles (see outputs.tf).

locals {
  execution_arns = "${replace(local.state_machine_arn, ":stateMachine:", ":execution:")}:*"
}

resource "aws_iam_policy" "operator" {
  name        = "${local.global_name}-operator"
  description = "The commands of ratesflow in the environment ${local.environment}"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Addresses"
        Effect   = "Allow"
        Action   = "ssm:GetParametersByPath"
        Resource = [for end in ["", "/*"] : "arn:${local.partition}:ssm:${local.region}:${local.account}:parameter/ratesflow/${local.environment}${end}"]
      },
      {
        Sid      = "Send"
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:AbortMultipartUpload"]
        Resource = ["${aws_s3_bucket.batches.arn}/${local.inbox}*", "${aws_s3_bucket.batches.arn}/reference/*"]
      },
      {
        Sid      = "SeeBatches"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion"]
        Resource = "${aws_s3_bucket.batches.arn}/${local.inbox}*"
      },
      {
        Sid      = "ReadOutcomes"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = ["${aws_s3_bucket.batches.arn}/reports/*", "${aws_s3_bucket.batches.arn}/results/*"]
      },
      {
        Sid      = "List" # also so that a missing object is reported as missing, not as AccessDenied
        Effect   = "Allow"
        Action   = ["s3:ListBucket", "s3:ListBucketVersions"]
        Resource = aws_s3_bucket.batches.arn
      },
      {
        Sid      = "Key"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = aws_kms_key.main.arn
      },
      {
        Sid      = "Start"
        Effect   = "Allow"
        Action   = ["states:StartExecution", "states:ListExecutions"]
        Resource = local.state_machine_arn
      },
      {
        Sid    = "Executions"
        Effect = "Allow"
        Action = [
          "states:DescribeExecution", "states:GetExecutionHistory", "states:DescribeStateMachineForExecution",
          "states:StopExecution",
        ]
        Resource = local.execution_arns
      },
      {
        Sid    = "Upkeep"
        Effect = "Allow"
        Action = "batch:SubmitJob"
        Resource = concat(
          values(aws_batch_job_queue.tasks)[*].arn,
          [for task in local.upkeep_tasks : "${local.job_definition_arn}/${local.name}-${task}"],
          [for task in local.upkeep_tasks : "${local.job_definition_arn}/${local.name}-${task}:*"],
        )
      },
      {
        Sid      = "Jobs" # AWS Batch does not support resources for these
        Effect   = "Allow"
        Action   = ["batch:DescribeJobs", "batch:ListJobs"]
        Resource = "*"
      },
      {
        Sid      = "Logs"
        Effect   = "Allow"
        Action   = "logs:GetLogEvents"
        Resource = "${aws_cloudwatch_log_group.tasks.arn}:*"
      },
      {
        Sid      = "Redrive"
        Effect   = "Allow"
        Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage"]
        Resource = aws_sqs_queue.dead_letter.arn
      },
    ]
  })
}
