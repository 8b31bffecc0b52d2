# VPC endpoints: the connection to AWS services without NAT. The S3 gateway endpoint is free, so it always exists.

locals {
  # Besides S3: what tasks and the API need to start (ecr, logs, secretsmanager), what gc calls (states, sqs, sns), what rotation
  # calls (rds) and what EC2 instances report to (ecs). Jobs are submitted from outside.
  endpoints = !var.endpoints ? toset([]) : toset(concat(
    ["ecr.api", "ecr.dkr", "logs", "secretsmanager", "states", "sqs", "sns"],
    var.rotation ? ["rds"] : [],
    var.ec2_queue ? ["ecs", "ecs-agent", "ecs-telemetry"] : [],
  ))
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.main.id
  vpc_endpoint_type = "Gateway"
  service_name      = "com.amazonaws.${local.region}.s3"
  route_table_ids   = aws_route_table.private[*].id
  tags              = { Name = "${local.name}-s3" }

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Batches"
        Effect    = "Allow"
        Principal = "*"
        Action    = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListBucket", "s3:ListBucketVersions"]
        Resource  = [aws_s3_bucket.batches.arn, "${aws_s3_bucket.batches.arn}/*"]
        Condition = { StringEquals = { "aws:PrincipalAccount" = local.account } }
      },
      {
        # Where ECR stores image layers (Amazon ECR User Guide, "Minimum Amazon S3 bucket permissions").
        Sid       = "Layers"
        Effect    = "Allow"
        Principal = "*"
        Action    = "s3:GetObject"
        Resource  = "arn:${local.partition}:s3:::prod-${local.region}-starport-layer-bucket/*"
      },
    ]
  })
}

resource "aws_vpc_endpoint" "interface" {
  for_each = local.endpoints

  vpc_id              = aws_vpc.main.id
  vpc_endpoint_type   = "Interface"
  service_name        = "com.amazonaws.${local.region}.${each.key}"
  subnet_ids          = aws_subnet.private[*].id
  security_group_ids  = [aws_security_group.endpoints.id]
  private_dns_enabled = true
  tags                = { Name = "${local.name}-${each.key}" }

  # Only principals of this account can use it, so no data can leave to another account.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = "*"
      Action    = "*"
      Resource  = "*"
      Condition = { StringEquals = { "aws:PrincipalAccount" = local.account } }
    }]
  })
}
