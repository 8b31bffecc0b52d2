# The database: one switch between Aurora and a small instance; TLS, encryption and backups with both.

mock_provider "aws" {
  source = "./tests/mocks"
}

override_module {
  target  = module.environment
  outputs = { name = "test" }
}

variables {
  loader_image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ratesflow/loader@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  api_image    = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ratesflow/api@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
  alarm_emails = ["oncall@example.com"]
  plain_http   = true
}

run "aurora" {
  assert {
    condition     = length(aws_rds_cluster.main) == 1 && length(aws_db_instance.main) == 0
    error_message = "Aurora, and no instance beside it"
  }

  assert {
    condition     = length(aws_rds_cluster_instance.main) == 3 && alltrue([for instance in aws_rds_cluster_instance.main : instance.instance_class == "db.serverless"])
    error_message = "a writer and two readers"
  }

  assert {
    condition     = length(distinct(aws_rds_cluster_instance.main[*].availability_zone)) == 3
    error_message = "each in a zone of its own"
  }

  assert {
    condition     = [for parameter in aws_rds_cluster_parameter_group.main[0].parameter : parameter.value if parameter.name == "rds.force_ssl"] == ["1"]
    error_message = "TLS is forced"
  }

  assert {
    condition     = alltrue([for name in ["log_statement", "log_min_duration_statement"] : contains([for parameter in aws_rds_cluster_parameter_group.main[0].parameter : parameter.name], name)])
    error_message = "slow statements and changes of the schema are logged"
  }

  assert {
    condition     = aws_rds_cluster.main[0].storage_encrypted && aws_rds_cluster.main[0].deletion_protection && !aws_rds_cluster.main[0].skip_final_snapshot && aws_rds_cluster.main[0].backup_retention_period == 14
    error_message = "encrypted, kept and backed up"
  }

  assert {
    condition     = aws_rds_cluster.main[0].manage_master_user_password
    error_message = "RDS keeps the owner's password"
  }

  assert {
    condition     = local.api_environment.DATABASE_HOST == "readers.example" && local.job_addresses["migrate"].DATABASE_HOST == "writer.example"
    error_message = "the API reads from readers, migrations write to the writer"
  }

  assert {
    condition     = length(aws_secretsmanager_secret_rotation.login) == 2 && alltrue([for rotation in aws_secretsmanager_secret_rotation.login : !rotation.rotate_immediately])
    error_message = "loader and reader are rotated, but not before their users were made"
  }

  assert {
    condition     = length(aws_scheduler_schedule.api) == 1
    error_message = "after rotation the API starts anew"
  }
}

run "aurora_that_pauses" {
  command = plan

  variables {
    aurora_minimum_capacity = 0
    aurora_readers          = 0
  }

  assert {
    condition     = aws_rds_cluster.main[0].serverlessv2_scaling_configuration[0].seconds_until_auto_pause == 600
    error_message = "it pauses after ten minutes"
  }

  assert {
    condition     = aws_lb_target_group.api.health_check[0].path == "/health/started"
    error_message = "health checks must not keep it awake"
  }
}

run "one_small_instance" {
  variables {
    aurora              = false
    rds_multi_az        = false
    rotation            = false
    deletion_protection = false
  }

  assert {
    condition     = length(aws_rds_cluster.main) == 0 && length(aws_rds_cluster_instance.main) == 0 && length(aws_db_instance.main) == 1
    error_message = "an instance, and no Aurora beside it"
  }

  assert {
    condition     = [for parameter in aws_db_parameter_group.main[0].parameter : parameter.value if parameter.name == "rds.force_ssl"] == ["1"]
    error_message = "TLS is forced"
  }

  assert {
    condition     = aws_db_instance.main[0].storage_encrypted && !aws_db_instance.main[0].publicly_accessible && !aws_db_instance.main[0].multi_az
    error_message = "encrypted, private, in one zone"
  }

  assert {
    condition     = local.api_environment.DATABASE_HOST == "instance.example"
    error_message = "the API reads where the loader writes"
  }

  assert {
    condition     = length(aws_secretsmanager_secret_rotation.login) == 0 && length(aws_scheduler_schedule.api) == 0
    error_message = "without rotation nothing is rotated or started anew"
  }

  assert {
    condition     = alltrue([for secret in aws_secretsmanager_secret.login : secret.recovery_window_in_days == 0])
    error_message = "an environment that may be deleted can be made again at once"
  }
}

run "more_capacity_than_there_is" {
  command = plan

  variables {
    aurora_minimum_capacity = 16
    aurora_maximum_capacity = 8
  }

  expect_failures = [var.aurora_maximum_capacity]
}
