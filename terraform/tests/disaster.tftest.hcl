# Copies of backups in another region.

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
  command = plan

  variables {
    backup_region = "eu-west-1"
  }

  assert {
    condition     = aws_backup_vault.there[0].region == "eu-west-1" && aws_kms_key.backup[0].region == "eu-west-1"
    error_message = "the copies and their key are in the other region"
  }

  assert {
    condition     = one(one(one(aws_backup_plan.main[0].rule).copy_action).lifecycle).delete_after == 14
    error_message = "copies are kept as long as backups"
  }

  assert {
    condition = alltrue([for lifecycle in concat(one(aws_backup_plan.main[0].rule).lifecycle, one(one(aws_backup_plan.main[0].rule).copy_action).lifecycle) :
      lifecycle.opt_in_to_archive_for_supported_resources == false
    ])
    error_message = "what the provider fills in is set explicitly, or the next plan is not empty"
  }

  assert {
    condition     = length(aws_db_instance_automated_backups_replication.main) == 0
    error_message = "Aurora has no replication of automated backups"
  }
}

run "an_instance" {
  command = plan

  variables {
    aurora        = false
    backup_days   = 7
    backup_region = "eu-west-1"
  }

  assert {
    condition     = aws_db_instance_automated_backups_replication.main[0].region == "eu-west-1" && aws_db_instance_automated_backups_replication.main[0].retention_period == 7
    error_message = "its backups and its log are copied to the other region"
  }

  assert {
    condition     = length(aws_backup_plan.main) == 0
    error_message = "nothing is copied twice"
  }
}

run "copy_in_the_same_region" {
  command = plan

  variables {
    backup_region = "eu-central-1"
  }

  expect_failures = [var.backup_region]
}
