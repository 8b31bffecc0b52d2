# The logins of the loader and the API. RDS manages and rotates the owner's.
#
# The first passwords are generated during the apply and written directly: neither plan nor state contains them. The task
# `migrate` creates the database users from these secrets.

locals {
  logins = {
    loader = "ratesflow_loader_login"
    reader = "ratesflow_reader_login"
  }
}

resource "aws_secretsmanager_secret" "login" {
  #checkov:skip=CKV2_AWS_57:Rotation is a variable, in rotation.tf.
  for_each = local.logins

  name                    = "ratesflow/${local.environment}/${each.key}"
  description             = "Database login of the ${each.key}"
  kms_key_id              = aws_kms_key.main.arn
  recovery_window_in_days = var.deletion_protection ? 30 : 0
}

ephemeral "random_password" "login" {
  for_each = local.logins

  length  = 40
  special = false
}

resource "aws_secretsmanager_secret_version" "login" {
  for_each = local.logins

  secret_id = aws_secretsmanager_secret.login[each.key].id

  # Written once; after that rotation writes. It does not follow the database's address or its owner's secret, since Terraform would
  # then write a password that the users of a restored database do not have. To replace the database, declare it (see
  # terraform_data.database): then this is written again, and `migrate` creates the users from it. Readers of the secret take the
  # address from DATABASE_HOST; only rotation takes it from here, so it is the writer's.
  secret_string_wo_version = 1
  secret_string_wo = jsonencode({
    engine    = "postgres"
    host      = local.writer_host
    port      = local.database_port
    dbname    = local.database_name
    username  = each.value
    password  = ephemeral.random_password.login[each.key].result
    masterarn = local.owner_secret_arn
  })

  lifecycle {
    replace_triggered_by = [terraform_data.database]
  }
}
