# Access for CI: a role per environment, for protected refs of one project only, and its permissions.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

override_resource {
  target          = aws_iam_openid_connect_provider.gitlab
  override_during = plan
  values          = { arn = "arn:aws:iam::123456789012:oidc-provider/gitlab.com" }
}

variables {
  gitlab_project = "group/ratesflow"
}

run "without_a_project_there_is_no_access" {
  command = plan

  variables {
    gitlab_project = null
  }

  assert {
    condition     = length(aws_iam_role.ci) == 0 && length(aws_iam_openid_connect_provider.gitlab) == 0 && length(aws_iam_policy.ci_terraform) == 0
    error_message = "there is no role to assume"
  }
}

run "a_role_for_each_environment" {
  command = plan

  variables {
    environments = [
      { name = "production", branches = [], tags = ["v*"] },
      { name = "dev" },
    ]
  }

  assert {
    condition     = { for name, role in aws_iam_role.ci : name => role.name } == { images = "ratesflow-ci-eu-central-1-images", production = "ratesflow-ci-eu-central-1-production", dev = "ratesflow-ci-eu-central-1-dev" }
    error_message = "names contain the region, since the account may use several"
  }

  assert {
    condition = jsondecode(aws_iam_role.ci["production"].assume_role_policy).Statement[0].Condition == {
      StringEquals = { "gitlab.com:aud" = "https://gitlab.com" }
      StringLike   = { "gitlab.com:sub" = ["project_path:group/ratesflow:ref_type:tag:ref:v*"] }
    }
    error_message = "only production's tags have access: no branch, no merge request, no other project"
  }

  assert {
    condition     = jsondecode(aws_iam_role.ci["dev"].assume_role_policy).Statement[0].Condition.StringLike == { "gitlab.com:sub" = ["project_path:group/ratesflow:ref_type:branch:ref:main"] }
    error_message = "main may deploy dev"
  }

  assert {
    condition     = toset(jsondecode(aws_iam_role.ci["images"].assume_role_policy).Statement[0].Condition.StringLike["gitlab.com:sub"]) == toset(["project_path:group/ratesflow:ref_type:tag:ref:v*", "project_path:group/ratesflow:ref_type:branch:ref:main"])
    error_message = "every ref that may deploy may push images"
  }

  assert {
    condition     = alltrue([for role in aws_iam_role.ci : jsondecode(role.assume_role_policy).Statement[0].Principal.Federated == "arn:aws:iam::123456789012:oidc-provider/gitlab.com"])
    error_message = "the roles trust GitLab's tokens"
  }
}

run "an_existing_provider" {
  command = plan

  variables {
    gitlab_oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/gitlab.com"
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.gitlab) == 0 && jsondecode(aws_iam_role.ci["dev"].assume_role_policy).Statement[0].Principal.Federated == "arn:aws:iam::123456789012:oidc-provider/gitlab.com"
    error_message = "an account can have only one provider per URL: the existing one is used"
  }
}

run "a_role_is_restricted_to_its_environment" {
  command = plan

  assert {
    condition = alltrue(flatten([for name in ["dev", "staging", "production"] : [
      for other in ["dev", "staging", "production"] : name == other || !strcontains(join("", [
        aws_iam_role_policy.ci_commands[name].policy, aws_iam_policy.ci_terraform["${name}-identity"].policy,
        aws_iam_policy.ci_terraform["${name}-network"].policy, aws_iam_policy.ci_terraform["${name}-services"].policy,
        aws_iam_policy.ci_terraform["${name}-storage"].policy,
      ]), "/${other}/") && !strcontains(aws_iam_policy.ci_terraform["${name}-services"].policy, "ratesflow-${other}") &&
      !strcontains(aws_iam_policy.ci_terraform["${name}-storage"].policy, "ratesflow-${other}")
    ]]))
    error_message = "no policy names another environment's resources"
  }

  assert {
    condition = alltrue([for statement in jsondecode(aws_iam_role_policy.ci_commands["dev"].policy).Statement :
      statement.Resource != "*" || toset(flatten([statement.Action])) == toset(["batch:DescribeJobDefinitions", "batch:DescribeJobs"])
    ])
    error_message = "only actions that do not support resources are allowed for all"
  }

  assert {
    condition     = alltrue([for policy in aws_iam_role_policy.ci_commands : one([for statement in jsondecode(policy.policy).Statement : statement if contains(flatten([statement.Action]), "s3:DeleteObject")]).Sid == "Lock"])
    error_message = "CI can never delete a state"
  }

  assert {
    condition = alltrue([for policy in aws_iam_policy.ci_terraform : alltrue([for statement in jsondecode(policy.policy).Statement :
      statement.Effect == "Deny" || !anytrue([for action in flatten([statement.Action]) : contains(["iam:PassRole", "iam:AttachRolePolicy", "iam:CreateServiceLinkedRole"], action)]) || can(statement.Condition)
    ])])
    error_message = "a role is passed only to named services, and gets only named policies"
  }
}

# What AWS requires besides the call itself: tags at creation, keys, alarms of autoscaling.
run "dependent_actions_are_allowed" {
  command = plan

  variables {
    environments = [{ name = "dev" }]
  }

  assert {
    condition = [for call in [
      "lambda:TagResource arn:aws:lambda:eu-central-1:123456789012:event-source-mapping:0a0a0a0a-0000-0000-0000-000000000000",
      "lambda:ListTags arn:aws:lambda:eu-central-1:123456789012:event-source-mapping:0a0a0a0a-0000-0000-0000-000000000000",
      "lambda:TagResource arn:aws:lambda:eu-central-1:123456789012:function:ratesflow-dev-trigger",
      "cloudwatch:PutMetricAlarm arn:aws:cloudwatch:eu-central-1:123456789012:alarm:TargetTracking-service/ratesflow-dev/api-AlarmHigh-0a0a",
      "cloudwatch:DeleteAlarms arn:aws:cloudwatch:eu-central-1:123456789012:alarm:TargetTracking-cluster:ratesflow-dev-AlarmLow-0a0a",
      "ecs:UpdateService arn:aws:ecs:eu-central-1:123456789012:service/ratesflow-dev/api",
      "ec2:CreateTags arn:aws:ec2:eu-central-1:123456789012:vpc/vpc-0a0a",
      "kms:TagResource arn:aws:kms:eu-central-1:123456789012:key/0a0a",
      "kms:CreateGrant arn:aws:kms:eu-west-1:123456789012:key/0a0a",
      "kms:RetireGrant arn:aws:kms:eu-west-1:123456789012:key/0a0a",
      "backup-storage:MountCapsule *",
      "backup:TagResource arn:aws:backup:eu-central-1:123456789012:backup-plan:0a0a",
      "backup:CreateBackupVault arn:aws:backup:eu-west-1:123456789012:backup-vault:ratesflow-dev-eu-central-1-copies",
      "elasticloadbalancing:AddTags arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/ratesflow-dev-api/0a0a/0a0a",
      "logs:CreateLogGroup arn:aws:logs:eu-central-1:123456789012:log-group:/aws/rds/cluster/ratesflow-dev/postgresql",
      "logs:CreateLogGroup arn:aws:logs:eu-central-1:123456789012:log-group:/aws/ecs/containerinsights/ratesflow-dev/performance",
      "rds:CreateDBCluster arn:aws:rds:eu-central-1:123456789012:subgrp:ratesflow-dev",
      "scheduler:TagResource arn:aws:scheduler:eu-central-1:123456789012:schedule-group/ratesflow-dev",
      "secretsmanager:CreateSecret arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!cluster-0a0a",
      "sns:Unsubscribe arn:aws:sns:eu-central-1:123456789012:ratesflow-dev-alarms:0a0a",
      "states:CreateStateMachineAlias arn:aws:states:eu-central-1:123456789012:stateMachine:ratesflow-dev-ingestion:live",
      ] : call if !anytrue(flatten([for policy in aws_iam_policy.ci_terraform : [
        for statement in jsondecode(policy.policy).Statement : statement.Effect == "Allow" &&
        anytrue([for action in flatten([statement.Action]) : can(regex("^${replace(action, "*", ".*")}$", split(" ", call)[0]))]) &&
        anytrue([for resource in flatten([statement.Resource]) : can(regex("^${replace(resource, "*", ".*")}$", split(" ", call)[1]))])
    ]]))] == []
    error_message = "a call that Terraform makes is not allowed"
  }

  assert {
    condition = contains(one([for statement in jsondecode(aws_iam_policy.ci_terraform["dev-identity"].policy).Statement : statement
    if statement.Sid == "ServiceLinkedRoles"]).Condition.StringEquals["iam:AWSServiceName"], "backup.amazonaws.com")
    error_message = "a service whose first use creates its role is used"
  }

  assert {
    condition = alltrue([
      for action in ["BatchCheckLayerAvailability", "InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload", "PutImage"] :
      strcontains(aws_iam_role_policy.ci_images[0].policy, "\"ecr:${action}\"")
    ])
    error_message = "the calls of an image push are allowed"
  }
}

run "policies_fit_the_limits_of_aws" {
  command = plan

  variables {
    region       = "ap-southeast-2"
    environments = [{ name = "abcdefghijkl" }]
  }

  assert {
    condition     = alltrue([for policy in aws_iam_policy.ci_terraform : length(policy.policy) <= 6144]) && length(aws_iam_role_policy.ci_commands["abcdefghijkl"].policy) <= 10240
    error_message = "a managed policy has at most 6,144 characters, the inline policies of a role 10,240 in total"
  }

  assert {
    condition     = alltrue([for role in aws_iam_role.ci : length(role.name) <= 64])
    error_message = "a role's name has at most 64 characters"
  }
}

run "any_branch_is_rejected" {
  command = plan

  variables {
    environments = [{ name = "dev", branches = ["*"] }]
  }

  expect_failures = [var.environments]
}

run "an_environment_within_another_is_rejected" {
  command = plan

  variables {
    environments = [{ name = "dev" }, { name = "dev-eu" }]
  }

  expect_failures = [var.environments]
}

run "an_environment_named_like_a_ci_role_is_rejected" {
  command = plan

  variables {
    environments = [{ name = "ci" }]
  }

  expect_failures = [var.environments]
}

run "a_subject_of_another_project_is_rejected" {
  command = plan

  variables {
    environments = [{ name = "dev", subjects = ["project_path:group/*"] }]
  }

  expect_failures = [var.environments]
}
