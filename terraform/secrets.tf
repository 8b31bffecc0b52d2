# The logins of loader and API. That of the owner is kept by RDS itself, which also rotates it.
#
# The first passwords are made while applying and written at once: neither plan nor state holds them. The task
# `migrate` makes the users of the database from these secrets.

locals {
  logins = {
    loader = "ratesflow_loader_login"
    reader = "ratesflow_reader_login"
  }
}

resource "aws_secretsmanager_secret" "login" {
  #checkov:skip=CKV2_AWS_57:Rotation is one switch, in rotation.tf.
  for_each = local.logins

  name                    = "ratesflow/${local.environment}/${each.key}"
  description             = "How the ${each.key} logs in to the database"
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

  # Written when its version here changes, which is never: from then on rotation writes. The host is the writer's, as
  # rotation demands; the API names the readers' by DATABASE_HOST.
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
}
