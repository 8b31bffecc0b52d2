# Permissions of Terraform for planning and applying one environment. Several policies, since one may hold 6,144 characters.
#
# Their limits: everything that has a name is restricted to names with the environment's prefix; in the network, what is tagged as
# another environment's cannot be changed. But a role that creates roles can give them permissions: in two steps, the role of an
# environment can do whatever the account can. The limits protect against accidents, not against people who may merge; a separate
# account for each environment does.

locals {
  ci_terraform = merge([
    for name in local.ci_environments : {
      "${name}-backups"  = { environment = name, statements = local.ci_backups[name] }
      "${name}-identity" = { environment = name, statements = local.ci_identity[name] }
      "${name}-network"  = { environment = name, statements = local.ci_network[name] }
      "${name}-services" = { environment = name, statements = local.ci_services[name] }
      "${name}-storage"  = { environment = name, statements = local.ci_storage[name] }
    }
  ]...)

  # ratesflow-dev and ratesflow-dev-…, not ratesflow-devel.
  ci_named = { for name in local.ci_environments : name => ["ratesflow-${name}", "ratesflow-${name}-*"] }

  # Roles, keys and secrets, and the function that rotates secrets, which CloudFormation creates.
  ci_identity = {
    for name in local.ci_environments : name => [
      {
        Sid    = "Roles"
        Effect = "Allow"
        Action = [
          "iam:AddRoleToInstanceProfile", "iam:CreateInstanceProfile", "iam:CreateRole", "iam:Delete*Policy",
          "iam:DeleteInstanceProfile", "iam:DeleteRole", "iam:Get*", "iam:List*", "iam:PutRolePolicy",
          "iam:RemoveRoleFromInstanceProfile", "iam:Tag*", "iam:Untag*", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole*",
        ]
        Resource = flatten([for prefix in ["ratesflow-${name}-${var.region}-*", "serverlessrepo-ratesflow-*"] : [
          "arn:${local.partition}:iam::${local.account}:role/${prefix}",
          "arn:${local.partition}:iam::${local.account}:instance-profile/${prefix}",
        ]])
      },
      {
        Sid    = "ManagedPolicies" # only these: no administrator policy
        Effect = "Allow"
        Action = ["iam:AttachRolePolicy", "iam:DetachRolePolicy"]
        Resource = [for prefix in ["ratesflow-${name}-${var.region}-*", "serverlessrepo-ratesflow-*"] :
          "arn:${local.partition}:iam::${local.account}:role/${prefix}"
        ]
        Condition = { ArnEquals = { "iam:PolicyARN" = [
          for policy in [
            "AmazonEC2ContainerServiceforEC2Role", "AmazonRDSEnhancedMonitoringRole", "AWSBackupServiceRolePolicyForBackup",
            "AWSLambdaBasicExecutionRole", "AWSLambdaVPCAccessExecutionRole",
          ] :
          "arn:${local.partition}:iam::aws:policy/service-role/${policy}"
        ] } }
      },
      {
        Sid    = "OperatorPolicy" # people attach it to their roles; Terraform attaches it to none
        Effect = "Allow"
        Action = [
          "iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:DeletePolicy", "iam:DeletePolicyVersion", "iam:GetPolicy*", "iam:ListPolicyVersions",
          "iam:TagPolicy", "iam:UntagPolicy",
        ]
        Resource = "arn:${local.partition}:iam::${local.account}:policy/ratesflow-${name}-${var.region}-operator"
      },
      {
        Sid    = "PassRole"
        Effect = "Allow"
        Action = "iam:PassRole"
        Resource = [for prefix in ["ratesflow-${name}-${var.region}-*", "serverlessrepo-ratesflow-*"] :
          "arn:${local.partition}:iam::${local.account}:role/${prefix}"
        ]
        Condition = { StringEquals = { "iam:PassedToService" = [
          for service in ["backup", "batch", "ec2", "ecs-tasks", "events", "lambda", "monitoring.rds", "scheduler", "states", "vpc-flow-logs"] : "${service}.amazonaws.com"
        ] } }
      },
      {
        Sid      = "ServiceLinkedRoles"
        Effect   = "Allow"
        Action   = "iam:CreateServiceLinkedRole"
        Resource = "arn:${local.partition}:iam::${local.account}:role/aws-service-role/*"
        Condition = { StringEquals = { "iam:AWSServiceName" = [
          for service in ["autoscaling", "backup", "batch", "ecs", "ecs.application-autoscaling", "elasticloadbalancing", "rds", "rds.application-autoscaling", "spot"] : "${service}.amazonaws.com"
        ] } }
      },
      {
        Sid       = "NewKey"
        Effect    = "Allow"
        Action    = ["kms:CreateKey", "kms:TagResource"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:RequestTag/Project" = "ratesflow", "aws:RequestTag/Environment" = name } }
      },
      {
        Sid    = "AnyKey" # harmless; the tag of a new key may take minutes to take effect
        Effect = "Allow"
        Action = ["kms:DescribeKey", "kms:EnableKeyRotation", "kms:GetKey*", "kms:List*"]
        # ListAliases does not support resources.
        Resource = "*"
      },
      {
        Sid    = "Key"
        Effect = "Allow"
        Action = [
          "kms:CreateAlias", "kms:CreateGrant", "kms:Decrypt", "kms:DeleteAlias", "kms:DisableKeyRotation", "kms:EnableKey", "kms:GenerateDataKey*",
          "kms:PutKeyPolicy", "kms:RetireGrant", "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource", "kms:Update*",
        ]
        Resource  = "arn:${local.partition}:kms:*:${local.account}:key/*" # a key in backup_region, for copies of backups
        Condition = { StringEquals = { "aws:ResourceTag/Project" = "ratesflow", "aws:ResourceTag/Environment" = name } }
      },
      {
        Sid      = "Alias" # required in addition to the key
        Effect   = "Allow"
        Action   = ["kms:CreateAlias", "kms:DeleteAlias", "kms:UpdateAlias"]
        Resource = "arn:${local.partition}:kms:${var.region}:${local.account}:alias/ratesflow-${name}"
      },
      {
        Sid    = "Secrets"
        Effect = "Allow"
        Action = "secretsmanager:*"
        Resource = [for secret in ["ratesflow/${name}/*", "rds!*"] :
          "arn:${local.partition}:secretsmanager:${var.region}:${local.account}:secret:${secret}"
        ]
      },
      {
        Sid      = "WhichSecrets" # does not support resources
        Effect   = "Allow"
        Action   = "secretsmanager:ListSecrets"
        Resource = "*"
      },
      {
        Sid    = "RotationFunction"
        Effect = "Allow"
        Action = ["cloudformation:*ChangeSet*", "cloudformation:*Stack*", "cloudformation:GetTemplate*"]
        Resource = [
          "arn:${local.partition}:cloudformation:${var.region}:${local.account}:stack/serverlessrepo-ratesflow-${name}-*/*",
          "arn:${local.partition}:cloudformation:${var.region}:aws:transform/*",
        ]
      },
      {
        Sid    = "RotationSource" # AWS's own applications, and the bucket with their code
        Effect = "Allow"
        Action = ["s3:GetObject", "serverlessrepo:CreateCloudFormationChangeSet", "serverlessrepo:CreateCloudFormationTemplate", "serverlessrepo:Get*"]
        Resource = [
          "arn:${local.partition}:s3:::awsserverlessrepo-changesets-*/*",
          "arn:${local.partition}:serverlessrepo:*:297356227824:applications/*",
        ]
      },
    ]
  }

  # EC2's network: created in this region, changed only where it is not another environment's.
  ci_network = {
    for name in local.ci_environments : name => [
      {
        Sid    = "Network"
        Effect = "Allow"
        Action = [
          "ec2:*Address*", "ec2:*FlowLogs", "ec2:*InternetGateway", "ec2:*LaunchTemplate*", "ec2:*NatGateway*", "ec2:*NetworkInterface", "ec2:*Route", "ec2:*RouteTable*",
          "ec2:*SecurityGroup*", "ec2:*Subnet*", "ec2:*Tags", "ec2:*Vpc", "ec2:*VpcAttribute", "ec2:*VpcEndpoint*", "ec2:Describe*",
          "elasticloadbalancing:Describe*",
        ]
        Resource  = "*"
        Condition = { StringEquals = { "aws:RequestedRegion" = var.region } }
      },
      {
        Sid    = "NotOthers"
        Effect = "Deny"
        Action = [
          for verb in ["Associate", "Attach", "Authorize", "CreateRoute", "CreateTags", "Delete", "Detach", "Disassociate", "Modify", "Release", "Replace", "Revoke", "Update"] :
          "ec2:${verb}*"
        ]
        Resource = "*"
        Condition = {
          StringNotEquals = { "aws:ResourceTag/Environment" = name }
          Null            = { "aws:ResourceTag/Environment" = "false" }
        }
      },
      {
        Sid    = "LoadBalancer"
        Effect = "Allow"
        Action = "elasticloadbalancing:*"
        Resource = [for resource in ["loadbalancer/app", "listener/app", "listener-rule/app", "targetgroup"] :
          "arn:${local.partition}:elasticloadbalancing:${var.region}:${local.account}:${resource}/ratesflow-${name}-*"
        ]
      },
    ]
  }
}

resource "aws_iam_policy" "ci_terraform" {
  #checkov:skip=CKV_AWS_286:It creates roles, so it could give itself more permissions: see the limits at the top of this file.
  #checkov:skip=CKV_AWS_287:Terraform writes the first passwords of the logins, and reads what it wrote.
  #checkov:skip=CKV_AWS_288:Objects are only those of the environment's own buckets.
  #checkov:skip=CKV_AWS_289:It creates roles, so it could give itself more permissions: see the limits at the top of this file.
  #checkov:skip=CKV_AWS_290:Resources that are not supported, or whose ID is generated at creation, cannot be named in advance.
  #checkov:skip=CKV_AWS_355:Resources that are not supported, or whose ID is generated at creation, cannot be named in advance.
  for_each = local.ci_terraform

  name        = "${local.ci_name}-${each.key}"
  description = "Terraform in GitLab's jobs: ${each.key}"
  policy      = jsonencode({ Version = "2012-10-17", Statement = each.value.statements })

  lifecycle {
    precondition {
      condition     = length(jsonencode({ Version = "2012-10-17", Statement = each.value.statements })) <= 6144
      error_message = "A policy may hold at most 6,144 characters, without white space."
    }
  }
}

resource "aws_iam_role_policy_attachment" "ci_terraform" {
  for_each = local.ci_terraform

  role       = aws_iam_role.ci[each.value.environment].name
  policy_arn = aws_iam_policy.ci_terraform[each.key].arn
}
