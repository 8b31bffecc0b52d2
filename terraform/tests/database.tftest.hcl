# The database: one variable selects Aurora or a small instance; both have TLS, encryption and backups.

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
    error_message = "there is an Aurora cluster, and no instance beside it"
  }

  assert {
    condition     = length(aws_rds_cluster_instance.main) == 3 && alltrue([for instance in aws_rds_cluster_instance.main : instance.instance_class == "db.serverless"])
    error_message = "there are a writer and two readers"
  }

  assert {
    condition     = length(distinct(aws_rds_cluster_instance.main[*].availability_zone)) == 3
    error_message = "each is in its own zone"
  }

  assert {
    condition     = [for parameter in aws_rds_cluster_parameter_group.main[0].parameter : parameter.value if parameter.name == "rds.force_ssl"] == ["1"]
    error_message = "TLS is required"
  }

  # Rotation's statements contain passwords in clear text.
  assert {
    condition = { for parameter in aws_rds_cluster_parameter_group.main[0].parameter : parameter.name => parameter.value
      if contains(["log_statement", "log_min_duration_statement", "log_min_error_statement"], parameter.name) } == {
      log_statement = "none", log_min_duration_statement = "-1", log_min_error_statement = "panic"
    }
    error_message = "no setting logs the text of a statement about a role, even if it is slow or fails"
  }

  assert {
    condition = { for parameter in aws_rds_cluster_parameter_group.main[0].parameter : parameter.name => "${parameter.value} ${parameter.apply_method}"
      if contains(["shared_preload_libraries", "pgaudit.log", "auto_explain.log_min_duration", "rds.force_ssl"], parameter.name) } == {
      "shared_preload_libraries"      = "pg_stat_statements,pgaudit,auto_explain pending-reboot"
      "pgaudit.log"                   = "ddl,role immediate"
      "auto_explain.log_min_duration" = "1000 immediate"
      "rds.force_ssl"                 = "1 pending-reboot"
    }
    error_message = "changes of tables and roles are audited, slow queries are logged; parameters that need a restart are declared as such"
  }

  assert {
    condition     = aws_rds_cluster.main[0].storage_encrypted && aws_rds_cluster.main[0].deletion_protection && !aws_rds_cluster.main[0].skip_final_snapshot && aws_rds_cluster.main[0].backup_retention_period == 14
    error_message = "the cluster is encrypted, protected and backed up"
  }

  assert {
    condition     = aws_rds_cluster.main[0].manage_master_user_password
    error_message = "RDS manages the owner's password"
  }

  assert {
    condition     = local.api_environment.DATABASE_HOST == "readers.example" && alltrue([for task, address in local.job_addresses : address.DATABASE_HOST == "writer.example"])
    error_message = "the API reads from readers and every task writes to the writer, whatever address a secret contains"
  }

  assert {
    condition     = length(aws_secretsmanager_secret_rotation.login) == 2 && alltrue([for rotation in aws_secretsmanager_secret_rotation.login : !rotation.rotate_immediately])
    error_message = "loader and reader are rotated at the scheduled hour"
  }

  assert {
    condition     = can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+$", aws_serverlessapplicationrepository_cloudformation_stack.rotation[0].semantic_version))
    error_message = "the version of the rotation function is pinned"
  }

  assert {
    condition     = [for group in [aws_cloudwatch_log_group.rotation[0], aws_cloudwatch_log_group.insights[0], aws_cloudwatch_log_group.database["postgresql"]] : "${group.name} ${group.retention_in_days}"] == ["/aws/lambda/ratesflow-test-rotation 365", "/aws/ecs/containerinsights/ratesflow-test/performance 365", "/aws/rds/cluster/ratesflow-test/postgresql 365"]
    error_message = "log groups of services are created in advance, with a retention"
  }

  assert {
    condition     = !aws_rds_cluster.main[0].apply_immediately && alltrue([for instance in aws_rds_cluster_instance.main : !instance.apply_immediately])
    error_message = "with deletion_protection, changes that restart the database wait for the maintenance window"
  }

  assert {
    condition     = aws_rds_cluster.main[0].allow_major_version_upgrade == var.allow_major_version_upgrade
    error_message = "only the variable allows a newer version"
  }

  assert {
    condition     = alltrue([for instance in aws_rds_cluster_instance.main : !instance.performance_insights_enabled])
    error_message = "below two capacity units Performance Insights is off, since it would use memory"
  }

  assert {
    condition     = length(aws_appautoscaling_target.readers) == 0 && length(aws_backup_vault.here) == 0
    error_message = "readers are not scaled, and backups not copied, by default"
  }

  assert {
    condition     = length(aws_scheduler_schedule.api) == 1
    error_message = "the API is redeployed after a rotation"
  }
}

run "aurora_that_pauses" {
  command = plan

  variables {
    apply_immediately       = true
    aurora_minimum_capacity = 0
    aurora_readers          = 0
  }

  assert {
    condition     = aws_rds_cluster.main[0].serverlessv2_scaling_configuration[0].seconds_until_auto_pause == 600
    error_message = "it pauses after ten minutes"
  }

  assert {
    condition     = aws_rds_cluster.main[0].apply_immediately && alltrue([for instance in aws_rds_cluster_instance.main : instance.apply_immediately])
    error_message = "a change is made at once if requested"
  }

  assert {
    condition     = aws_lb_target_group.api.health_check[0].path == "/health/started"
    error_message = "health checks must not keep it awake"
  }
}

run "one_small_instance" {
  # A separate environment: an existing one keeps its kind of database.
  state_key = "instance"

  variables {
    aurora              = false
    rds_multi_az        = false
    rotation            = false
    deletion_protection = false
  }

  assert {
    condition     = length(aws_rds_cluster.main) == 0 && length(aws_rds_cluster_instance.main) == 0 && length(aws_db_instance.main) == 1
    error_message = "there is an instance, and no Aurora cluster beside it"
  }

  assert {
    condition     = [for parameter in aws_db_parameter_group.main[0].parameter : parameter.value if parameter.name == "rds.force_ssl"] == ["1"]
    error_message = "TLS is required"
  }

  assert {
    condition     = aws_db_instance.main[0].storage_encrypted && !aws_db_instance.main[0].publicly_accessible && !aws_db_instance.main[0].multi_az
    error_message = "it is encrypted, private, in one zone"
  }

  assert {
    condition     = [for group in values(aws_cloudwatch_log_group.database) : group.name] == ["/aws/rds/instance/ratesflow-test/postgresql", "/aws/rds/instance/ratesflow-test/upgrade"]
    error_message = "both its logs have a retention"
  }

  assert {
    condition     = aws_db_instance.main[0].apply_immediately && aws_db_instance.main[0].performance_insights_enabled
    error_message = "without deletion_protection changes are made at once"
  }

  assert {
    condition     = local.api_environment.DATABASE_HOST == "instance.example"
    error_message = "the API reads from the address that the loader writes to"
  }

  assert {
    condition     = length(aws_secretsmanager_secret_rotation.login) == 0 && length(aws_scheduler_schedule.api) == 0
    error_message = "without rotation nothing is rotated or redeployed"
  }

  assert {
    condition     = alltrue([for secret in aws_secretsmanager_secret.login : secret.recovery_window_in_days == 0])
    error_message = "without deletion_protection an environment can be created again at once"
  }
}

run "too_much_capacity" {
  command = plan

  variables {
    aurora_minimum_capacity = 16
    aurora_maximum_capacity = 8
  }

  expect_failures = [var.aurora_maximum_capacity]
}

run "autoscaled_readers" {
  command = plan

  variables {
    aurora_minimum_capacity = 2
    aurora_maximum_readers  = 5
  }

  assert {
    condition     = [aws_appautoscaling_target.readers[0].min_capacity, aws_appautoscaling_target.readers[0].max_capacity, aws_appautoscaling_target.readers[0].resource_id] == [2, 5, "cluster:ratesflow-test"]
    error_message = "readers scale from Terraform's number to the maximum"
  }

  assert {
    condition     = alltrue([for instance in aws_rds_cluster_instance.main : instance.performance_insights_enabled])
    error_message = "two capacity units are enough for Performance Insights"
  }
}

run "maximum_below_readers" {
  command = plan

  variables {
    aurora_maximum_readers = 1
  }

  expect_failures = [var.aurora_maximum_readers]
}

run "first_apply" {
  command = plan

  override_data {
    target = data.aws_secretsmanager_secrets.login
    values = { names = [] }
  }

  # Secrets Manager would test the rotation at once, with users that `migrate` has not created yet.
  assert {
    condition     = length(aws_secretsmanager_secret_rotation.login) == 0 && length(aws_serverlessapplicationrepository_cloudformation_stack.rotation) == 1
    error_message = "rotation begins with the second apply"
  }

  expect_failures = [check.rotation]
}
