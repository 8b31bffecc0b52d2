# One workspace is one environment. Its name is in every name, so that many fit into one account.
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

  # Ours come last: the budget counts by them, and the rights of the pipeline go by them.
  tags = merge(var.tags, { Project = "ratesflow", Environment = local.environment, ManagedBy = "terraform" })

  # For names that are one of their kind in the account or everywhere: buckets, roles, dashboards, budgets. So a second
  # region has room beside the first.
  global_name = "${local.name}-${local.region}"

  # Known before the resource is, so that jobs can be told about the state machine that is made of them.
  state_machine_name = "${local.name}-ingestion"
  state_machine_arn  = "arn:${local.partition}:states:${local.region}:${local.account}:stateMachine:${local.state_machine_name}"
}
