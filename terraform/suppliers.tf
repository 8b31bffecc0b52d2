# Suppliers get in: each may put files into its own folder of the inbox, and neither read, list nor delete anything, nor touch
# another's folder. What they put is encrypted with the environment's key, by default and without their doing.
#
# From another account both sides must allow it: this one here (bucket and key, or the role), the supplier's in its own policies.

locals {
  supplier_folders = { for name, supplier in var.suppliers : name => supplier.prefix == null ? "${name}/" : supplier.prefix }

  supplier_principals = {
    for name, supplier in var.suppliers : name => [
      for principal in supplier.principals : startswith(principal, "arn:") ? principal : "arn:${local.partition}:iam::${principal}:root"
    ]
  }

  # Those who write as themselves. The others assume a role, and so give its external id each time.
  suppliers_direct = { for name, supplier in var.suppliers : name => supplier if supplier.external_id == null }
  suppliers_role   = { for name, supplier in var.suppliers : name => supplier if supplier.external_id != null }

  # Without a word on encryption the bucket's own applies, after policies were asked, so these see no header then
  # (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-encryption.html). Who asks for one must name the environment's key: what lies under
  # another, or under one of the supplier's, the tasks could not read. Parts of a large file are put, given up and listed by
  # permissions of the object.
  supplier_put = {
    for name, folder in local.supplier_folders : name => [
      {
        Sid      = "Put${title(name)}"
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
        Resource = "arn:${local.partition}:s3:::${local.bucket_name}/${local.inbox}${folder}*"
        Condition = { Null = {
          "s3:x-amz-server-side-encryption"                    = "true"
          "s3:x-amz-server-side-encryption-customer-algorithm" = "true"
        } }
      },
      {
        Sid      = "PutKey${title(name)}"
        Effect   = "Allow"
        Action   = ["s3:PutObject"]
        Resource = "arn:${local.partition}:s3:::${local.bucket_name}/${local.inbox}${folder}*"
        Condition = { StringEquals = {
          "s3:x-amz-server-side-encryption"                = "aws:kms"
          "s3:x-amz-server-side-encryption-aws-kms-key-id" = aws_kms_key.main.arn
        } }
      },
    ]
  }

  # In the bucket's policy.
  supplier_statements = flatten([
    for name in keys(local.suppliers_direct) : [
      for statement in local.supplier_put[name] : merge(statement, { Principal = { AWS = local.supplier_principals[name] } })
    ]
  ])

  # S3 asks for a key to encrypt with, and, for a file in parts, to read that key again: for this bucket, and by S3 alone.
  # With bucket keys the context is the bucket, without them the object.
  supplier_key = {
    Effect = "Allow"
    Action = ["kms:GenerateDataKey", "kms:Decrypt"]
    Condition = {
      StringEquals = { "kms:ViaService" = "s3.${local.region}.${data.aws_partition.current.dns_suffix}" }
      StringLike = { "kms:EncryptionContext:aws:s3:arn" = [
        "arn:${local.partition}:s3:::${local.bucket_name}", "arn:${local.partition}:s3:::${local.bucket_name}/${local.inbox}*",
      ] }
    }
  }

  # In the key's policy.
  supplier_key_statements = length(local.suppliers_direct) == 0 ? [] : [
    merge(local.supplier_key, {
      Sid       = "Suppliers"
      Principal = { AWS = distinct(flatten([for name in keys(local.suppliers_direct) : local.supplier_principals[name]])) }
      Resource  = "*"
    })
  ]
}

resource "aws_iam_role" "supplier" {
  for_each = local.suppliers_role

  name                 = "${local.global_name}-supplier-${each.key}"
  description          = "Puts files into ${local.inbox}${local.supplier_folders[each.key]}"
  max_session_duration = 3600
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { AWS = local.supplier_principals[each.key] }
      Condition = { StringEquals = { "sts:ExternalId" = each.value.external_id } }
    }]
  })
}

resource "aws_iam_role_policy" "supplier" {
  for_each = local.suppliers_role

  name = "put"
  role = aws_iam_role.supplier[each.key].id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.supplier_put[each.key], [merge(local.supplier_key, { Sid = "Key", Resource = aws_kms_key.main.arn })])
  })
}

output "suppliers" {
  description = "What to tell each supplier: where its files go, the key that its own policies must allow, and the role to assume, if it has one."
  value = {
    for name, folder in local.supplier_folders : name => {
      inbox = "s3://${local.bucket_name}/${local.inbox}${folder}"
      key   = aws_kms_key.main.arn
      role  = try(aws_iam_role.supplier[name].arn, null)
    }
  }
}
