# Suppliers get into their own folder of the inbox, and nowhere else.

mock_provider "aws" {
  source = "./tests/mocks"
}

override_module {
  target  = module.environment
  outputs = { name = "test" }
}

override_resource {
  target          = aws_kms_key.main
  override_during = plan
  values          = { arn = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
}

override_resource {
  target          = aws_s3_bucket.batches
  override_during = plan
  values          = { arn = "arn:aws:s3:::ratesflow-test-batches-123456789012-eu-central-1" }
}

variables {
  loader_image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ratesflow/loader@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  api_image    = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ratesflow/api@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
  alarm_emails = ["oncall@example.com"]
  plain_http   = true
  suppliers = {
    acme = { principals = ["210987654321", "arn:aws:iam::111122223333:role/prices"] }
    brig = { principals = ["444455556666"], prefix = "north/brig/", external_id = "7f0c1c7e-brig" }
  }
}

run "one_who_writes_as_itself" {
  command = plan

  assert {
    condition     = [for statement in jsondecode(aws_s3_bucket_policy.batches.policy).Statement : statement.Sid] == ["TlsOnly", "PutAcme", "PutKeyAcme"]
    error_message = "who has an external id is not let in without it, and the rule on TLS stays first"
  }

  assert {
    condition = alltrue([for statement in jsondecode(aws_s3_bucket_policy.batches.policy).Statement : (
      statement.Effect == "Allow" && statement.Resource == "arn:aws:s3:::ratesflow-test-batches-123456789012-eu-central-1/incoming/acme/*" &&
      statement.Principal == { AWS = ["arn:aws:iam::210987654321:root", "arn:aws:iam::111122223333:role/prices"] } &&
      length(setsubtract(statement.Action, ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"])) == 0
    ) if statement.Sid != "TlsOnly"])
    error_message = "its folder alone, to put into alone: nothing is read, listed or deleted"
  }

  assert {
    condition = [for statement in jsondecode(aws_s3_bucket_policy.batches.policy).Statement : statement.Condition if statement.Sid != "TlsOnly"] == [
      { Null = { "s3:x-amz-server-side-encryption" = "true", "s3:x-amz-server-side-encryption-customer-algorithm" = "true" } },
      { StringEquals = { "s3:x-amz-server-side-encryption" = "aws:kms", "s3:x-amz-server-side-encryption-aws-kms-key-id" = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000" } },
    ]
    error_message = "a file is under the bucket's key: by default, or by name"
  }

  assert {
    condition = one([for statement in jsondecode(aws_kms_key.main.policy).Statement : statement if statement.Sid == "Suppliers"]) == {
      Sid       = "Suppliers"
      Effect    = "Allow"
      Principal = { AWS = ["arn:aws:iam::210987654321:root", "arn:aws:iam::111122223333:role/prices"] }
      Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
      Resource  = "*"
      Condition = {
        StringEquals = { "kms:ViaService" = "s3.eu-central-1.amazonaws.com" }
        StringLike = { "kms:EncryptionContext:aws:s3:arn" = [
          "arn:aws:s3:::ratesflow-test-batches-123456789012-eu-central-1", "arn:aws:s3:::ratesflow-test-batches-123456789012-eu-central-1/incoming/*",
        ] }
      }
    }
    error_message = "the key is lent to S3 for this bucket, and to nobody else"
  }
}

run "one_who_assumes_a_role" {
  command = plan

  assert {
    condition     = keys(aws_iam_role.supplier) == ["brig"] && aws_iam_role.supplier["brig"].name == "ratesflow-test-eu-central-1-supplier-brig"
    error_message = "a role for who has an external id"
  }

  assert {
    condition = jsondecode(aws_iam_role.supplier["brig"].assume_role_policy).Statement == [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { AWS = ["arn:aws:iam::444455556666:root"] }
      Condition = { StringEquals = { "sts:ExternalId" = "7f0c1c7e-brig" } }
    }]
    error_message = "its account alone, and with that id"
  }

  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_role_policy.supplier["brig"].policy).Statement : statement.Resource])) == toset([
      "arn:aws:s3:::ratesflow-test-batches-123456789012-eu-central-1/incoming/north/brig/*",
      "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000",
    ])
    error_message = "its folder and the key"
  }

  assert {
    condition     = output.suppliers["brig"].inbox == "s3://ratesflow-test-batches-123456789012-eu-central-1/incoming/north/brig/" && output.suppliers["acme"].role == null
    error_message = "what to tell them"
  }
}

run "without_suppliers_nobody_is_named" {
  command = plan

  variables {
    suppliers = {}
  }

  assert {
    condition     = length(jsondecode(aws_s3_bucket_policy.batches.policy).Statement) == 1 && !strcontains(aws_kms_key.main.policy, "Suppliers")
    error_message = "only the rule on TLS, and no grant of the key"
  }
}

run "a_folder_within_anothers_is_refused" {
  command = plan

  variables {
    suppliers = {
      acme = { principals = ["210987654321"] }
      brig = { principals = ["444455556666"], prefix = "acme/brig/" }
    }
  }

  expect_failures = [var.suppliers]
}

run "everybody_is_refused" {
  command = plan

  variables {
    suppliers = { acme = { principals = ["*"] } }
  }

  expect_failures = [var.suppliers]
}

run "the_whole_inbox_is_refused" {
  command = plan

  variables {
    suppliers = { acme = { principals = ["210987654321"], prefix = "" } }
  }

  expect_failures = [var.suppliers]
}

run "a_wildcard_in_a_folder_is_refused" {
  command = plan

  variables {
    suppliers = { acme = { principals = ["210987654321"], prefix = "a*/" } }
  }

  expect_failures = [var.suppliers]
}

run "a_short_external_id_is_refused" {
  command = plan

  variables {
    suppliers = { acme = { principals = ["210987654321"], external_id = "acme" } }
  }

  expect_failures = [var.suppliers]
}
