# One workspace is one environment. All names contain its name, so that an account can hold many.
module "environment" {
  source = "./modules/environment"
  name   = terraform.workspace
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  environment = module.environment.name
  name        = "ratesflow-${local.environment}"
  account     = data.aws_caller_identity.current.account_id
  partition   = data.aws_partition.current.partition
  region      = data.aws_region.current.region

  # Ours override: the budget and the permissions of the pipeline depend on them.
  tags = merge(var.tags, { Project = "ratesflow", Environment = local.environment, ManagedBy = "terraform" })

  # For names that are unique in an account or globally: buckets, roles, dashboards, budgets. This leaves room for a second
  # region.
  global_name = "${local.name}-${local.region}"

  # Known before the resource exists, so that job definitions can refer to the state machine that references them.
  state_machine_name = "${local.name}-ingestion"
  state_machine_arn  = "arn:${local.partition}:states:${local.region}:${local.account}:stateMachine:${local.state_machine_name}"
}
