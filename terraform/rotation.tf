# Rotation by alternating users: AWS's function creates or changes the second user of a login and writes it to the secret;
# clients with the first user are unaffected until the next rotation.

resource "aws_serverlessapplicationrepository_cloudformation_stack" "rotation" {
  count = var.rotation ? 1 : 0

  name = "${local.name}-rotation"
  # The version that aws-cdk-lib 2.276 pins (aws-secretsmanager/lib/secret-rotation.ts).
  semantic_version = "1.1.671"
  application_id   = "arn:${local.partition}:serverlessrepo:us-east-1:297356227824:applications/SecretsManagerRDSPostgreSQLRotationMultiUser"
  capabilities     = ["CAPABILITY_IAM", "CAPABILITY_RESOURCE_POLICY"]

  parameters = {
    functionName             = local.rotation_function
    endpoint                 = "https://secretsmanager.${local.region}.${data.aws_partition.current.dns_suffix}"
    vpcSubnetIds             = join(",", aws_subnet.private[*].id)
    vpcSecurityGroupIds      = aws_security_group.rotation[0].id
    kmsKeyArn                = aws_kms_key.main.arn
    superuserSecretArn       = local.owner_secret_arn
    superuserSecretKmsKeyArn = aws_kms_key.main.arn
    # Only letters and digits: no character that needs quoting in a database URL.
    excludePunctuation = "true"
  }

  depends_on = [aws_cloudwatch_log_group.rotation]
}

# Lambda would create it, and keep it forever.
resource "aws_cloudwatch_log_group" "rotation" {
  count = var.rotation ? 1 : 0

  name              = "/aws/lambda/${local.rotation_function}"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.main.arn
}

# The secrets that existed before this plan. Secrets Manager tests a rotation function as soon as a secret gets one, even with
# rotate_immediately = false (RotateSecret, "RotateImmediately"). In a new environment the users do not exist yet: `migrate`
# creates them from the secrets, after the first apply. So rotation begins with the second apply.
data "aws_secretsmanager_secrets" "login" {
  count = var.rotation ? 1 : 0

  filter {
    name   = "name"
    values = [for key in keys(local.logins) : "ratesflow/${local.environment}/${key}"]
  }
}

locals {
  rotation_function = "${local.name}-rotation"
  rotated = {
    for key, user in local.logins : key => user
    if var.rotation && contains(flatten(data.aws_secretsmanager_secrets.login[*].names), "ratesflow/${local.environment}/${key}")
  }
}

check "rotation" {
  assert {
    condition     = !var.rotation || length(local.rotated) == length(local.logins)
    error_message = "Passwords are not rotated yet: run `ratesflow migrate`, which creates the users, then plan and apply once more."
  }
}

resource "aws_secretsmanager_secret_rotation" "login" {
  for_each = local.rotated

  secret_id           = aws_secretsmanager_secret.login[each.key].id
  rotation_lambda_arn = "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${local.rotation_function}"
  # At the hour in rotation_schedule.
  rotate_immediately = false

  rotation_rules {
    schedule_expression = var.rotation_schedule
    duration            = "2h"
  }

  depends_on = [aws_secretsmanager_secret_version.login, aws_serverlessapplicationrepository_cloudformation_stack.rotation]
}
