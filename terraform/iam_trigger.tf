# The permissions of the trigger: read its queue, start this state machine, move poison messages, log.

resource "aws_iam_role" "trigger" {
  name = "${local.global_name}-trigger"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "trigger" {
  name = "trigger"
  role = aws_iam_role.trigger.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Arrivals" # these three, according to the AWS Lambda Developer Guide, "Using Lambda with Amazon SQS"
        Effect   = "Allow"
        Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
        Resource = aws_sqs_queue.arrivals.arn
      },
      {
        Sid      = "Poison"
        Effect   = "Allow"
        Action   = "sqs:SendMessage"
        Resource = aws_sqs_queue.dead_letter.arn
      },
      {
        Sid      = "Start"
        Effect   = "Allow"
        Action   = "states:StartExecution"
        Resource = [local.state_machine_arn, "${local.state_machine_arn}:${local.alias}"]
      },
      {
        Sid      = "Logs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.trigger.arn}:*"
      },
      {
        Sid      = "Traces" # X-Ray does not support resources for these
        Effect   = "Allow"
        Action   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
        Resource = "*"
      },
    ]
  })
}
