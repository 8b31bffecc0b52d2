# Suppliers have access to their own folder of the inbox only.

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

run "a_supplier_with_its_own_identity" {
  command = plan

  assert {
    condition     = [for statement in jsondecode(aws_s3_bucket_policy.batches.policy).Statement : statement.Sid] == ["TlsOnly", "PutAcme", "PutKeyAcme"]
    error_message = "a supplier with an external ID has no direct access, and the TLS statement remains first"
  }

  assert {
    condition = alltrue([for statement in jsondecode(aws_s3_bucket_policy.batches.policy).Statement : (
      statement.Effect == "Allow" && statement.Resource == "arn:aws:s3:::ratesflow-test-batches-123456789012-eu-central-1/incoming/acme/*" &&
      statement.Principal == { AWS = ["arn:aws:iam::210987654321:root", "arn:aws:iam::111122223333:role/prices"] } &&
      length(setsubtract(statement.Action, ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"])) == 0
    ) if statement.Sid != "TlsOnly"])
    error_message = "it may only upload to its own folder: not read, list or delete"
  }

  assert {
    condition = [for statement in jsondecode(aws_s3_bucket_policy.batches.policy).Statement : statement.Condition if statement.Sid != "TlsOnly"] == [
      { Null = { "s3:x-amz-server-side-encryption" = "true", "s3:x-amz-server-side-encryption-customer-algorithm" = "true" } },
      { StringEquals = { "s3:x-amz-server-side-encryption" = "aws:kms", "s3:x-amz-server-side-encryption-aws-kms-key-id" = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000" } },
    ]
    error_message = "a file is encrypted with the bucket's key: by default, or by name"
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
    error_message = "only S3 may use the key for it, and only for this bucket"
  }
}

run "a_supplier_with_a_role" {
  command = plan

  assert {
    condition     = keys(aws_iam_role.supplier) == ["brig"] && aws_iam_role.supplier["brig"].name == "ratesflow-test-eu-central-1-supplier-brig"
    error_message = "a supplier with an external ID gets a role"
  }

  assert {
    condition = jsondecode(aws_iam_role.supplier["brig"].assume_role_policy).Statement == [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { AWS = ["arn:aws:iam::444455556666:root"] }
      Condition = { StringEquals = { "sts:ExternalId" = "7f0c1c7e-brig" } }
    }]
    error_message = "only its account may assume it, and only with that ID"
  }

  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_role_policy.supplier["brig"].policy).Statement : statement.Resource])) == toset([
      "arn:aws:s3:::ratesflow-test-batches-123456789012-eu-central-1/incoming/north/brig/*",
      "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000",
    ])
    error_message = "the role allows its folder and the key"
  }

  assert {
    condition     = output.suppliers["brig"].inbox == "s3://ratesflow-test-batches-123456789012-eu-central-1/incoming/north/brig/" && output.suppliers["acme"].role == null
    error_message = "the output has what the suppliers need"
  }
}

run "without_suppliers_there_is_no_access" {
  command = plan

  variables {
    suppliers = {}
  }

  assert {
    condition     = length(jsondecode(aws_s3_bucket_policy.batches.policy).Statement) == 1 && !strcontains(aws_kms_key.main.policy, "Suppliers")
    error_message = "there is only the TLS statement, and no grant of the key"
  }
}

run "a_folder_within_anothers_is_rejected" {
  command = plan

  variables {
    suppliers = {
      acme = { principals = ["210987654321"] }
      brig = { principals = ["444455556666"], prefix = "acme/brig/" }
    }
  }

  expect_failures = [var.suppliers]
}

run "everybody_is_rejected" {
  command = plan

  variables {
    suppliers = { acme = { principals = ["*"] } }
  }

  expect_failures = [var.suppliers]
}

run "the_whole_inbox_is_rejected" {
  command = plan

  variables {
    suppliers = { acme = { principals = ["210987654321"], prefix = "" } }
  }

  expect_failures = [var.suppliers]
}

run "a_wildcard_in_a_folder_is_rejected" {
  command = plan

  variables {
    suppliers = { acme = { principals = ["210987654321"], prefix = "a*/" } }
  }

  expect_failures = [var.suppliers]
}

run "a_short_external_id_is_rejected" {
  command = plan

  variables {
    suppliers = { acme = { principals = ["210987654321"], external_id = "acme" } }
  }

  expect_failures = [var.suppliers]
}
