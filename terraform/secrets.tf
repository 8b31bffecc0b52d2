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

  # Written once: from then on rotation writes. Terraform does not follow the database's address or its owner's secret by
  # itself, since with them it would write a password that the users of a restored database do not have. Whoever puts
  # another database in its place says so (see terraform_data.database): then this is written again, and the users are
  # made from it by `migrate`. What reads it, by the way, takes the address from DATABASE_HOST; only rotation takes it
  # from here, which is why it is the writer's.
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
