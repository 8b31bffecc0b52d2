# The bucket: batches arrive under incoming/, tasks write to reports/ and results/, reference data is uploaded to reference/.

locals {
  bucket_name = "${local.name}-batches-${local.account}-${local.region}"
  inbox       = "incoming/"
}

resource "aws_s3_bucket" "batches" {
  #checkov:skip=CKV_AWS_144:The service needs no copy in another region: suppliers keep their files, and prices are in the database's backups.
  #checkov:skip=CKV2_AWS_62:Events go through EventBridge, which aws_s3_bucket_notification.batches turns on.
  bucket        = local.bucket_name
  force_destroy = !var.deletion_protection
}

resource "aws_s3_bucket_public_access_block" "batches" {
  bucket                  = aws_s3_bucket.batches.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "batches" {
  bucket = aws_s3_bucket.batches.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_versioning" "batches" {
  bucket = aws_s3_bucket.batches.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "batches" {
  bucket = aws_s3_bucket.batches.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.main.arn
    }
  }
}

resource "aws_s3_bucket_policy" "batches" {
  bucket = aws_s3_bucket.batches.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.batches.arn, "${aws_s3_bucket.batches.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }], local.supplier_statements)
  })
  depends_on = [aws_s3_bucket_public_access_block.batches]

  lifecycle {
    precondition {
      condition     = length(jsonencode(local.supplier_statements)) <= 20000
      error_message = "The policy of the bucket (at most 20 KB) cannot hold all suppliers. Give some of them an external_id: suppliers with roles are not limited."
    }
  }
}

resource "aws_s3_bucket_notification" "batches" {
  bucket      = aws_s3_bucket.batches.id
  eventbridge = true
}

resource "aws_s3_bucket_logging" "batches" {
  bucket        = aws_s3_bucket.batches.id
  target_bucket = aws_s3_bucket.logs.id
  target_prefix = "batches/"
}

resource "aws_s3_bucket_lifecycle_configuration" "batches" {
  bucket     = aws_s3_bucket.batches.id
  depends_on = [aws_s3_bucket_versioning.batches]

  rule {
    id     = "all"
    status = "Enabled"
    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }

    noncurrent_version_expiration {
      noncurrent_days = var.old_version_days
    }
  }

  rule {
    id     = "incoming"
    status = "Enabled"

    filter {
      prefix = local.inbox
    }

    # Files are read twice within minutes of their arrival, and rarely after that.
    transition {
      days          = 60
      storage_class = "STANDARD_IA"
    }
  }

  dynamic "rule" {
    # Results are kept as long as Step Functions keeps their execution.
    for_each = { reports = var.report_days, results = 90, reference = 90 }

    content {
      id     = rule.key
      status = "Enabled"

      filter {
        prefix = "${rule.key}/"
      }

      expiration {
        days = rule.value
      }
    }
  }
}
