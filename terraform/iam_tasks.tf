# The permissions of each task: its own prefixes of the bucket, its own secret, and for gc its queue and topic.

locals {
  # Statements from which the policies of tasks are built.
  may = {
    read_batch = [
      { Sid = "ReadBatch", Effect = "Allow", Action = ["s3:GetObject", "s3:GetObjectVersion"], Resource = "${aws_s3_bucket.batches.arn}/${local.inbox}*" },
      # Reports a missing version as missing, not as AccessDenied.
      { Sid = "Missing", Effect = "Allow", Action = ["s3:ListBucket", "s3:ListBucketVersions"], Resource = aws_s3_bucket.batches.arn },
    ]
    # Reports a missing document as missing, not as AccessDenied.
    missing = [
      { Sid = "Missing", Effect = "Allow", Action = "s3:ListBucket", Resource = aws_s3_bucket.batches.arn },
    ]
    read_reference = [
      { Sid = "ReadReference", Effect = "Allow", Action = "s3:GetObject", Resource = "${aws_s3_bucket.batches.arn}/reference/*" },
    ]
    read_results = [
      { Sid = "ReadResults", Effect = "Allow", Action = "s3:GetObject", Resource = "${aws_s3_bucket.batches.arn}/results/*" },
    ]
    # Documents that are written with one request each.
    write_results = [
      { Sid = "WriteResults", Effect = "Allow", Action = "s3:PutObject", Resource = "${aws_s3_bucket.batches.arn}/results/*" },
    ]
    # The rates of a batch, and its list of errors, in parts.
    write_large_results = [
      { Sid = "WriteResults", Effect = "Allow", Action = ["s3:PutObject", "s3:AbortMultipartUpload"], Resource = "${aws_s3_bucket.batches.arn}/results/*" },
    ]
    write_reports = [
      { Sid = "WriteReports", Effect = "Allow", Action = ["s3:PutObject", "s3:AbortMultipartUpload"], Resource = "${aws_s3_bucket.batches.arn}/reports/*" },
    ]
    clean_up = [
      {
        Sid       = "ListInbox"
        Effect    = "Allow"
        Action    = "s3:ListBucketVersions"
        Resource  = aws_s3_bucket.batches.arn
        Condition = { StringLike = { "s3:prefix" = "${local.inbox}*" } }
      },
      { Sid = "ListExecutions", Effect = "Allow", Action = "states:ListExecutions", Resource = local.state_machine_arn },
      { Sid = "DescribeExecutions", Effect = "Allow", Action = "states:DescribeExecution", Resource = "${replace(local.state_machine_arn, ":stateMachine:", ":execution:")}:*" },
      { Sid = "StartLost", Effect = "Allow", Action = "sqs:SendMessage", Resource = aws_sqs_queue.arrivals.arn },
      { Sid = "Notify", Effect = "Allow", Action = "sns:Publish", Resource = aws_sns_topic.notifications.arn },
    ]
  }

  # Each declaration in loader/tasks/ names the statements that its task needs.
  task_permissions = {
    for task, job in local.jobs : task => flatten([for permission in job.permissions : local.may[permission]])
  }

  ecs_tasks_assume = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role" "task" {
  for_each = local.jobs

  name               = "${local.global_name}-task-${each.key}"
  description        = "The task ${each.key}"
  assume_role_policy = local.ecs_tasks_assume
}

resource "aws_iam_role_policy" "task" {
  for_each = local.jobs

  name = "task"
  role = aws_iam_role.task[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(local.task_permissions[each.key], [
      {
        Sid      = "Secret"
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = local.job_secrets[each.key].DATABASE_SECRET
      },
      {
        Sid      = "Key"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = aws_kms_key.main.arn
      },
    ])
  })
}
