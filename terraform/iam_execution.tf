# The permissions of ECS for starting a container: pull its image, read its secret, write its log.

locals {
  executions = {
    tasks-loader = {
      image   = var.loader_image
      logs    = aws_cloudwatch_log_group.tasks.arn
      secrets = [aws_secretsmanager_secret.login["loader"].arn]
    }
    tasks-owner = {
      image   = var.loader_image
      logs    = aws_cloudwatch_log_group.tasks.arn
      secrets = [local.owner_secret_arn, aws_secretsmanager_secret.login["loader"].arn, aws_secretsmanager_secret.login["reader"].arn]
    }
    api = {
      image   = var.api_image
      logs    = aws_cloudwatch_log_group.api.arn
      secrets = [aws_secretsmanager_secret.login["reader"].arn]
    }
  }

  # ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME@sha256:… → arn:…:ecr:REGION:ACCOUNT:repository/NAME; images of other
  # registries need no permissions here.
  repositories = {
    for name, execution in local.executions : name => [
      for parts in regexall("^([0-9]{12})\\.dkr\\.ecr\\.([a-z0-9-]+)\\.[a-z.]+/([^@:]+)", execution.image) :
      "arn:${local.partition}:ecr:${parts[1]}:${parts[0]}:repository/${parts[2]}"
    ]
  }
}

resource "aws_iam_role" "execution" {
  for_each = local.executions

  name               = "${local.global_name}-start-${each.key}"
  description        = "Starts containers: ${each.key}"
  assume_role_policy = local.ecs_tasks_assume
}

resource "aws_iam_role_policy" "execution" {
  for_each = local.executions

  name = "start"
  role = aws_iam_role.execution[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "Logs"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = "${each.value.logs}:*"
        },
        {
          Sid      = "Secrets"
          Effect   = "Allow"
          Action   = "secretsmanager:GetSecretValue"
          Resource = each.value.secrets
        },
        {
          Sid      = "Key"
          Effect   = "Allow"
          Action   = "kms:Decrypt"
          Resource = aws_kms_key.main.arn
        },
      ],
      length(local.repositories[each.key]) == 0 ? [] : [
        {
          Sid      = "Login" # does not support resources
          Effect   = "Allow"
          Action   = ["ecr:GetAuthorizationToken"]
          Resource = ["*"]
        },
        {
          Sid      = "Image"
          Effect   = "Allow"
          Action   = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"]
          Resource = local.repositories[each.key]
        },
      ],
    )
  })
}
