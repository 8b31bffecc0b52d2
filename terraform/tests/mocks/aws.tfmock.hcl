# Mock values that our configuration depends on. Tests need no account and call no AWS service.

mock_data "aws_caller_identity" {
  defaults = { account_id = "123456789012" }
}

mock_data "aws_partition" {
  defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
}

mock_data "aws_region" {
  defaults = { region = "eu-central-1" }
}

mock_data "aws_availability_zones" {
  defaults = { names = ["eu-central-1a", "eu-central-1b", "eu-central-1c"] }
}

mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
}

mock_resource "aws_batch_job_queue" {
  defaults = { arn = "arn:aws:batch:eu-central-1:123456789012:job-queue/queue" }
}

mock_resource "aws_batch_compute_environment" {
  defaults = { arn = "arn:aws:batch:eu-central-1:123456789012:compute-environment/environment" }
}

mock_resource "aws_batch_job_definition" {
  defaults = { arn = "arn:aws:batch:eu-central-1:123456789012:job-definition/definition:1" }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::123456789012:role/role" }
}

mock_resource "aws_iam_instance_profile" {
  defaults = { arn = "arn:aws:iam::123456789012:instance-profile/profile" }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:group" }
}

mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:eu-central-1:123456789012:topic" }
}

mock_resource "aws_lambda_function" {
  defaults = { arn = "arn:aws:lambda:eu-central-1:123456789012:function:function" }
}

mock_resource "aws_sfn_state_machine" {
  defaults = {
    arn                       = "arn:aws:states:eu-central-1:123456789012:stateMachine:machine"
    state_machine_version_arn = "arn:aws:states:eu-central-1:123456789012:stateMachine:machine:1"
  }
}

mock_resource "aws_sfn_alias" {
  defaults = { arn = "arn:aws:states:eu-central-1:123456789012:stateMachine:machine:live" }
}

mock_resource "aws_rds_cluster" {
  defaults = {
    arn                   = "arn:aws:rds:eu-central-1:123456789012:cluster:cluster"
    endpoint              = "writer.example"
    reader_endpoint       = "readers.example"
    engine_version_actual = "16.9"
    master_user_secret    = [{ secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!owner" }]
  }
}

mock_resource "aws_db_instance" {
  defaults = {
    arn                   = "arn:aws:rds:eu-central-1:123456789012:db:instance"
    address               = "instance.example"
    engine_version_actual = "16.9"
    master_user_secret    = [{ secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!owner" }]
  }
}

# An environment that has been applied before: its secrets exist.
mock_data "aws_secretsmanager_secrets" {
  defaults = { names = ["ratesflow/test/loader", "ratesflow/test/reader"] }
}

mock_resource "aws_backup_vault" {
  defaults = { arn = "arn:aws:backup:eu-west-1:123456789012:backup-vault:vault" }
}

mock_resource "aws_lb" {
  defaults = {
    arn        = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/api/0000000000000000"
    arn_suffix = "app/api/0000000000000000"
    dns_name   = "api.elb.example"
  }
}

mock_resource "aws_lb_target_group" {
  defaults = {
    arn        = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/api/0000000000000000"
    arn_suffix = "targetgroup/api/0000000000000000"
  }
}

mock_resource "aws_lb_listener" {
  defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/api/0000000000000000/0000000000000000" }
}

mock_resource "aws_ecs_cluster" {
  defaults = { arn = "arn:aws:ecs:eu-central-1:123456789012:cluster/cluster" }
}

mock_resource "aws_ecs_task_definition" {
  defaults = { arn = "arn:aws:ecs:eu-central-1:123456789012:task-definition/api:1" }
}

mock_resource "aws_ecs_service" {
  defaults = { id = "arn:aws:ecs:eu-central-1:123456789012:service/cluster/api" }
}

mock_resource "aws_cloudwatch_event_rule" {
  defaults = { arn = "arn:aws:events:eu-central-1:123456789012:rule/rule" }
}
