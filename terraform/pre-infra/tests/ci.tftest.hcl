# CI's way in: for protected refs of one project alone, a role for each environment, and what that may do.

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

run "without_a_project_nobody_gets_in" {
  command = plan

  variables {
    gitlab_project = null
  }

  assert {
    condition     = length(aws_iam_role.ci) == 0 && length(aws_iam_openid_connect_provider.gitlab) == 0 && length(aws_iam_policy.ci_terraform) == 0
    error_message = "there is nothing to assume"
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
    error_message = "names hold the region, which the account may have a second of"
  }

  assert {
    condition = jsondecode(aws_iam_role.ci["production"].assume_role_policy).Statement[0].Condition == {
      StringEquals = { "gitlab.com:aud" = "https://gitlab.com" }
      StringLike   = { "gitlab.com:sub" = ["project_path:group/ratesflow:ref_type:tag:ref:v*"] }
    }
    error_message = "production is for its tags alone: no branch, no merge request, no other project"
  }

  assert {
    condition     = jsondecode(aws_iam_role.ci["dev"].assume_role_policy).Statement[0].Condition.StringLike == { "gitlab.com:sub" = ["project_path:group/ratesflow:ref_type:branch:ref:main"] }
    error_message = "dev is for main"
  }

  assert {
    condition     = toset(jsondecode(aws_iam_role.ci["images"].assume_role_policy).Statement[0].Condition.StringLike["gitlab.com:sub"]) == toset(["project_path:group/ratesflow:ref_type:tag:ref:v*", "project_path:group/ratesflow:ref_type:branch:ref:main"])
    error_message = "images are pushed from where anything is deployed from"
  }

  assert {
    condition     = alltrue([for role in aws_iam_role.ci : jsondecode(role.assume_role_policy).Statement[0].Principal.Federated == "arn:aws:iam::123456789012:oidc-provider/gitlab.com"])
    error_message = "GitLab vouches for them"
  }
}

run "a_provider_that_is_there_already" {
  command = plan

  variables {
    gitlab_oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/gitlab.com"
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.gitlab) == 0 && jsondecode(aws_iam_role.ci["dev"].assume_role_policy).Statement[0].Principal.Federated == "arn:aws:iam::123456789012:oidc-provider/gitlab.com"
    error_message = "an account has one provider of an address: the one that is there is taken"
  }
}

run "what_a_role_may_do_is_its_environments" {
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
    error_message = "no policy names what is another environment's"
  }

  assert {
    condition = alltrue([for statement in jsondecode(aws_iam_role_policy.ci_commands["dev"].policy).Statement :
      statement.Resource != "*" || toset(flatten([statement.Action])) == toset(["batch:DescribeJobDefinitions", "batch:DescribeJobs"])
    ])
    error_message = "only what knows no resources is allowed of all"
  }

  assert {
    condition     = alltrue([for policy in aws_iam_role_policy.ci_commands : one([for statement in jsondecode(policy.policy).Statement : statement if contains(flatten([statement.Action]), "s3:DeleteObject")]).Sid == "Lock"])
    error_message = "a state is never deleted by CI"
  }

  assert {
    condition = alltrue([for policy in aws_iam_policy.ci_terraform : alltrue([for statement in jsondecode(policy.policy).Statement :
      statement.Effect == "Deny" || !anytrue([for action in flatten([statement.Action]) : contains(["iam:PassRole", "iam:AttachRolePolicy", "iam:CreateServiceLinkedRole"], action)]) || can(statement.Condition)
    ])])
    error_message = "a role is passed to services that are named, and gets policies that are named"
  }
}

# What AWS's documentation asks for beside the call itself: tags given at creation, keys, alarms of autoscaling.
run "what_comes_with_a_call_is_allowed" {
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
    error_message = "a service whose first use makes its role is used"
  }

  assert {
    condition = alltrue([
      for action in ["BatchCheckLayerAvailability", "InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload", "PutImage"] :
      strcontains(aws_iam_role_policy.ci_images[0].policy, "\"ecr:${action}\"")
    ])
    error_message = "what a push of an image calls"
  }
}

run "policies_fit_into_what_aws_takes" {
  command = plan

  variables {
    region       = "ap-southeast-2"
    environments = [{ name = "abcdefghijkl" }]
  }

  assert {
    condition     = alltrue([for policy in aws_iam_policy.ci_terraform : length(policy.policy) <= 6144]) && length(aws_iam_role_policy.ci_commands["abcdefghijkl"].policy) <= 10240
    error_message = "6,144 characters a policy of its own, 10,240 in all within a role"
  }

  assert {
    condition     = alltrue([for role in aws_iam_role.ci : length(role.name) <= 64])
    error_message = "a role's name has 64 characters at most"
  }
}

run "any_branch_is_refused" {
  command = plan

  variables {
    environments = [{ name = "dev", branches = ["*"] }]
  }

  expect_failures = [var.environments]
}

run "an_environment_within_another_is_refused" {
  command = plan

  variables {
    environments = [{ name = "dev" }, { name = "dev-eu" }]
  }

  expect_failures = [var.environments]
}

run "an_environment_named_as_the_roles_of_ci_is_refused" {
  command = plan

  variables {
    environments = [{ name = "ci" }]
  }

  expect_failures = [var.environments]
}

run "a_subject_of_another_project_is_refused" {
  command = plan

  variables {
    environments = [{ name = "dev", subjects = ["project_path:group/*"] }]
  }

  expect_failures = [var.environments]
}
