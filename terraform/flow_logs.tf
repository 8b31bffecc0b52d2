# Network flow logs, for later investigation; only with monitoring, since they are billed by the gigabyte.

resource "aws_cloudwatch_log_group" "flow" {
  count = var.monitoring ? 1 : 0

  name              = "/ratesflow/${local.environment}/network"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.main.arn
}

resource "aws_iam_role" "flow" {
  count = var.monitoring ? 1 : 0

  name = "${local.global_name}-flow-logs"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "vpc-flow-logs.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "flow" {
  count = var.monitoring ? 1 : 0

  name = "logs"
  role = aws_iam_role.flow[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
        Resource = "${aws_cloudwatch_log_group.flow[0].arn}:*"
      },
      {
        Effect   = "Allow" # Amazon VPC User Guide, "IAM role for publishing flow logs"; the group already exists
        Action   = "logs:DescribeLogGroups"
        Resource = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:*"
      },
    ]
  })
}

resource "aws_flow_log" "main" {
  count = var.monitoring ? 1 : 0

  vpc_id                   = aws_vpc.main.id
  traffic_type             = "ALL"
  max_aggregation_interval = 600
  log_destination          = aws_cloudwatch_log_group.flow[0].arn
  iam_role_arn             = aws_iam_role.flow[0].arn
}
