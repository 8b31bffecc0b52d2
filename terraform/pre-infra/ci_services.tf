# Permissions of Terraform for services whose resources have names: all names begin with the environment's prefix. See also
# ci_terraform.tf. Setting a target for Application Auto Scaling requires the permission to create its alarms (its User Guide,
# "Permissions required for API actions on target services and CloudWatch"). An event source mapping has a generated ID, and a tag,
# which needs a permission of its own.

locals {
  # SERVICE = [what follows arn:…:SERVICE:REGION:ACCOUNT:, with % for each prefix of a name]
  ci_resources = {
    batch      = ["compute-environment/%", "job-definition/%", "job-queue/%"]
    cloudwatch = ["alarm:%", "alarm:TargetTracking-cluster:%", "alarm:TargetTracking-service/%/*"]
    ecs        = ["cluster/%", "service/%/*", "task-definition/%:*"]
    events     = ["rule/%"]
    lambda     = ["event-source-mapping:*", "function:%"]
    logs       = ["log-group:/aws/ecs/containerinsights/%/*", "log-group:/aws/lambda/%", "log-group:/aws/rds/*/%/*", "log-group:/aws/vendedlogs/states/%"]
    rds        = ["cluster-pg:%", "cluster-snapshot:%", "cluster:%", "db:%", "pg:%", "snapshot:%", "subgrp:%"]
    scheduler  = ["schedule-group/%", "schedule/%/*"]
    sns        = ["%"]
    sqs        = ["%"]
    states     = ["stateMachine:%"]
  }

  ci_services = {
    for name in local.ci_environments : name => [
      {
        Sid    = "Named"
        Effect = "Allow"
        Action = [for service, resources in local.ci_resources : "${service}:*"]
        Resource = concat(
          distinct(flatten([for service, resources in local.ci_resources : [
            for resource in resources : [
              for prefix in local.ci_named[name] : "arn:${local.partition}:${service}:${var.region}:${local.account}:${replace(resource, "%", prefix)}"
            ]
          ]])),
          [
            "arn:${local.partition}:cloudwatch::${local.account}:dashboard/ratesflow-${name}-${var.region}",
            "arn:${local.partition}:logs:${var.region}:${local.account}:log-group:/ratesflow/${name}/*",
            # For all databases of the account: RDS chooses the name.
            "arn:${local.partition}:logs:${var.region}:${local.account}:log-group:RDSOSMetrics*",
            # A cluster and an instance also use AWS's own option and parameter groups.
            "arn:${local.partition}:rds:${var.region}:${local.account}:*:default*",
          ],
        )
      },
      {
        Sid    = "Unnamed" # these do not support resources, or only resources with generated IDs
        Effect = "Allow"
        Action = [
          "application-autoscaling:*", "batch:Describe*", "batch:List*", "cloudwatch:Describe*", "cloudwatch:Get*", "cloudwatch:List*",
          "ecs:*TaskDefinition", "ecs:Describe*", "ecs:List*", "lambda:*EventSourceMapping*", "lambda:ListTags", "logs:*LogDeliver*",
          "logs:*ResourcePolic*", "logs:Describe*", "logs:List*", "rds:Describe*", "rds:ListTagsForResource", "sns:*Subscription*",
          "ssm:DescribeParameters", "states:List*", "states:ValidateStateMachineDefinition",
        ]
        Resource  = "*"
        Condition = { StringEquals = { "aws:RequestedRegion" = var.region } }
      },
    ]
  }

  # Buckets, addresses, budget, certificate: as above, in a separate policy because of the size limit of policies.
  ci_storage = {
    for name in local.ci_environments : name => [
      {
        Sid    = "Buckets"
        Effect = "Allow"
        Action = "s3:*"
        Resource = flatten([for bucket in ["batches", "logs"] : [
          "arn:${local.partition}:s3:::ratesflow-${name}-${bucket}-${local.account}-${var.region}",
          "arn:${local.partition}:s3:::ratesflow-${name}-${bucket}-${local.account}-${var.region}/*",
        ]])
      },
      {
        Sid      = "Parameters"
        Effect   = "Allow"
        Action   = "ssm:*"
        Resource = "arn:${local.partition}:ssm:${var.region}:${local.account}:parameter/ratesflow/${name}/*"
      },
      {
        Sid      = "Budget"
        Effect   = "Allow"
        Action   = "budgets:*"
        Resource = "arn:${local.partition}:budgets::${local.account}:budget/ratesflow-${name}-${var.region}"
      },
      {
        Sid      = "Certificate" # a listener uses it
        Effect   = "Allow"
        Action   = ["acm:DescribeCertificate", "acm:ListTagsForCertificate"]
        Resource = "arn:${local.partition}:acm:${var.region}:${local.account}:certificate/*"
      },
    ]
  }
}
