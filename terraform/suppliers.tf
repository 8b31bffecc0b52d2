# Access for suppliers: each may upload files to its own folder of the inbox. It cannot read, list or delete anything, or write to
# another supplier's folder. Uploads are encrypted with the environment's key by default.
#
# Access from another account must be allowed on both sides: here (bucket and key, or the role), and in the supplier's own policies.

locals {
  supplier_folders = { for name, supplier in var.suppliers : name => supplier.prefix == null ? "${name}/" : supplier.prefix }

  supplier_principals = {
    for name, supplier in var.suppliers : name => [
      for principal in supplier.principals : startswith(principal, "arn:") ? principal : "arn:${local.partition}:iam::${principal}:root"
    ]
  }

  # Suppliers that write with their own identity. The others assume a role, and present its external ID each time.
  suppliers_direct = { for name, supplier in var.suppliers : name => supplier if supplier.external_id == null }
  suppliers_role   = { for name, supplier in var.suppliers : name => supplier if supplier.external_id != null }

  # An upload without encryption headers gets the bucket's default encryption after policies were evaluated, so these see no header
  # (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-encryption.html). An upload with such headers must name the environment's key: the
  # tasks could not read objects under another key, or under one of the supplier's. Uploading, aborting and listing parts of a large
  # file are permissions on the object.
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

  # S3 needs the key to encrypt and, for a file in parts, to decrypt with it again: only for this bucket, and only through S3. With
  # bucket keys the encryption context is the bucket, without them the object.
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
  description          = "Uploads files to ${local.inbox}${local.supplier_folders[each.key]}"
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
  description = "What to give each supplier: the address of its folder, the key that its own policies must allow, and the role to assume, if any."
  value = {
    for name, folder in local.supplier_folders : name => {
      inbox = "s3://${local.bucket_name}/${local.inbox}${folder}"
      key   = aws_kms_key.main.arn
      role  = try(aws_iam_role.supplier[name].arn, null)
    }
  }
}
