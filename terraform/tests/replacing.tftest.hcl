# A variable does not delete an existing database. The runs build on each other in one environment.

mock_provider "aws" {
  source = "./tests/mocks"
}

override_module {
  target  = module.environment
  outputs = { name = "test" }
}

variables {
  rotation     = false
  loader_image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ratesflow/loader@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  api_image    = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ratesflow/api@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
  alarm_emails = ["oncall@example.com"]
  plain_http   = true

  # It may get more zones later, and go back to these.
  zones          = 2
  aurora_readers = 1
}

run "an_instance" {
  variables {
    aurora = false
  }

  assert {
    condition     = length(aws_db_instance.main) == 1
    error_message = "a new environment needs no confirmation"
  }
}

run "the_other_kind_would_delete_it" {
  command = plan

  expect_failures = [terraform_data.database]
}

run "a_newer_version_needs_permission" {
  command = plan

  variables {
    aurora           = false
    database_version = "18"
  }

  expect_failures = [aws_db_instance.main]
}

run "an_allowed_newer_version" {
  command = plan

  variables {
    aurora                      = false
    database_version            = "18"
    allow_major_version_upgrade = true
    apply_immediately           = true
  }

  assert {
    condition     = aws_db_instance.main[0].engine_version == "18" && aws_db_instance.main[0].allow_major_version_upgrade
    error_message = "it is upgraded in place"
  }
}

run "an_upgrade_cannot_wait" {
  command = plan

  variables {
    aurora                      = false
    database_version            = "18"
    allow_major_version_upgrade = true
  }

  expect_failures = [var.allow_major_version_upgrade]
}

run "declared_replacement" {
  override_resource {
    target = aws_secretsmanager_secret_version.login
    values = { version_id = "written-again" }
  }

  override_resource {
    target = aws_rds_cluster.main
    values = {
      arn                   = "arn:aws:rds:eu-central-1:123456789012:cluster:cluster"
      endpoint              = "writer.example"
      reader_endpoint       = "readers.example"
      engine_version_actual = "18.3"
      master_user_secret    = [{ secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!owner" }]
    }
  }

  variables {
    database_version = "18"
  }

  plan_options {
    replace = [terraform_data.database]
  }

  assert {
    condition     = length(aws_rds_cluster.main) == 1 && length(aws_db_instance.main) == 0
    error_message = "a declared replacement creates the other kind"
  }

  assert {
    condition     = alltrue([for version in aws_secretsmanager_secret_version.login : version.version_id == "written-again"])
    error_message = "loader and reader get secrets with its address and its owner"
  }
}

run "the_new_kind_is_kept" {
  override_resource {
    target = aws_secretsmanager_secret_version.login
    values = { version_id = "and-again" }
  }

  variables {
    database_version = "18"
  }

  assert {
    condition     = alltrue([for version in aws_secretsmanager_secret_version.login : version.version_id == "written-again"])
    error_message = "a password that rotation may have changed is not overwritten"
  }
}

run "and_back" {
  command = plan

  variables {
    aurora           = false
    database_version = "18"
  }

  expect_failures = [terraform_data.database]
}

run "an_older_version" {
  command = plan

  variables {
    database_version            = "16"
    allow_major_version_upgrade = true
    apply_immediately           = true
  }

  expect_failures = [aws_rds_cluster.main]
}

run "a_third_zone_with_a_reader" {
  variables {
    database_version = "18"
    zones            = 3
    aurora_readers   = 2
  }

  assert {
    condition     = length(distinct(aws_rds_cluster_instance.main[*].availability_zone)) == 3
    error_message = "existing instances stay, and the new one uses the new zone"
  }
}

run "a_zone_with_an_instance" {
  command = plan

  variables {
    database_version = "18"
    aurora_readers   = 2
  }

  expect_failures = [aws_rds_cluster_instance.main]
}

run "a_zone_without_an_instance" {
  command = plan

  variables {
    database_version = "18"
  }

  assert {
    condition     = length(aws_rds_cluster_instance.main) == 2
    error_message = "without its reader a zone may be removed"
  }
}
