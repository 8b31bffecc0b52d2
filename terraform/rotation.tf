# Rotation by alternating users: AWS's own function makes or changes the second user of a login and points the secret to
# it; who still uses the first one notices nothing until the next rotation.

resource "aws_serverlessapplicationrepository_cloudformation_stack" "rotation" {
  count = var.rotation ? 1 : 0

  name           = "${local.name}-rotation"
  application_id = "arn:${local.partition}:serverlessrepo:us-east-1:297356227824:applications/SecretsManagerRDSPostgreSQLRotationMultiUser"
  capabilities   = ["CAPABILITY_IAM", "CAPABILITY_RESOURCE_POLICY"]

  parameters = {
    functionName             = local.rotation_function
    endpoint                 = "https://secretsmanager.${local.region}.${data.aws_partition.current.dns_suffix}"
    vpcSubnetIds             = join(",", aws_subnet.private[*].id)
    vpcSecurityGroupIds      = aws_security_group.rotation[0].id
    kmsKeyArn                = aws_kms_key.main.arn
    superuserSecretArn       = local.owner_secret_arn
    superuserSecretKmsKeyArn = aws_kms_key.main.arn
    # Letters and digits alone: nothing that an address of a database would have to quote.
    excludePunctuation = "true"
  }
}

locals {
  rotation_function = "${local.name}-rotation"
}

resource "aws_secretsmanager_secret_rotation" "login" {
  for_each = var.rotation ? local.logins : {}

  secret_id           = aws_secretsmanager_secret.login[each.key].id
  rotation_lambda_arn = "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${local.rotation_function}"
  # Not before `migrate` has made the users.
  rotate_immediately = false

  rotation_rules {
    schedule_expression = var.rotation_schedule
    duration            = "2h"
  }

  depends_on = [aws_secretsmanager_secret_version.login, aws_serverlessapplicationrepository_cloudformation_stack.rotation]
}
