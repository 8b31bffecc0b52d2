# Valid names of environments.

run "default_is_rejected" {
  command = plan

  module {
    source = "./modules/environment"
  }

  variables {
    name = "default"
  }

  expect_failures = [output.name]
}

run "too_long_is_rejected" {
  command = plan

  module {
    source = "./modules/environment"
  }

  variables {
    name = "a-name-of-more-than-twelve"
  }

  expect_failures = [output.name]
}

run "two_hyphens_in_a_row_are_rejected" {
  command = plan

  module {
    source = "./modules/environment"
  }

  variables {
    name = "feature--42"
  }

  expect_failures = [output.name]
}

run "a_valid_name" {
  command = plan

  module {
    source = "./modules/environment"
  }

  variables {
    name = "feature-42"
  }

  assert {
    condition     = output.name == "feature-42"
    error_message = "it is the environment's name"
  }
}
