"""The attributes whose change replaces a resource, for the resource types of this configuration.

From the source of hashicorp/terraform-provider-aws, version 6 where available (`ForceNew`, `RequiresReplace`,
`CustomizeDiff`): stand-ins for the provider know the schema, but only some of these. Look up a resource type that is
missing here before relying on a change in place.
"""

from collections.abc import Mapping
from typing import Any

ALL_BUT_TAGS = frozenset({"*"})

# The attributes whose change replaces a resource, by type. A block stands for
# the number of its blocks only (SDK version 2: ForceNew of a list); fields inside a block have a dot.
REPLACING: dict[str, frozenset[str]] = {
    "aws_appautoscaling_policy": frozenset({"name", "resource_id", "scalable_dimension", "service_namespace"}),
    "aws_appautoscaling_target": frozenset({"resource_id", "scalable_dimension", "service_namespace"}),
    "aws_backup_plan": frozenset({"name"}),
    "aws_backup_selection": ALL_BUT_TAGS,
    "aws_backup_vault": frozenset({"name", "kms_key_arn"}),
    "aws_batch_compute_environment": frozenset({"name", "name_prefix", "type", "eks_configuration"}),
    "aws_batch_job_definition": frozenset({"name"}),
    "aws_batch_job_queue": frozenset({"name"}),
    "aws_budgets_budget": frozenset({"name", "account_id"}),
    "aws_cloudwatch_dashboard": frozenset({"dashboard_name"}),
    "aws_cloudwatch_event_rule": frozenset({"name", "name_prefix", "event_bus_name"}),
    "aws_cloudwatch_event_target": frozenset({"rule", "target_id", "event_bus_name"}),
    "aws_cloudwatch_log_group": frozenset({"name", "name_prefix", "log_group_class"}),
    "aws_cloudwatch_metric_alarm": frozenset({"alarm_name"}),
    "aws_db_instance": frozenset(
        {"availability_zone", "db_name", "engine", "kms_key_id", "storage_encrypted", "username", "character_set_name"}
    ),
    "aws_db_instance_automated_backups_replication": ALL_BUT_TAGS,
    "aws_db_parameter_group": frozenset({"family", "name", "name_prefix", "description"}),
    "aws_db_subnet_group": frozenset({"name", "name_prefix"}),
    "aws_default_security_group": frozenset({"vpc_id"}),
    "aws_ecs_cluster": frozenset({"name"}),
    "aws_ecs_cluster_capacity_providers": frozenset({"cluster_name"}),
    "aws_ecs_service": frozenset({"cluster", "iam_role", "launch_type", "name", "scheduling_strategy"}),
    "aws_ecs_task_definition": ALL_BUT_TAGS,
    "aws_eip": frozenset({"domain", "address", "network_border_group"}),
    "aws_flow_log": ALL_BUT_TAGS,
    "aws_iam_instance_profile": frozenset({"name", "name_prefix", "path"}),
    "aws_iam_policy": frozenset({"name", "name_prefix", "path", "description"}),
    "aws_iam_role": frozenset({"name", "name_prefix", "path"}),
    "aws_iam_role_policy": frozenset({"name", "name_prefix", "role"}),
    "aws_iam_role_policy_attachment": frozenset({"role", "policy_arn"}),
    "aws_internet_gateway": frozenset(),
    "aws_kms_key": frozenset({"customer_master_key_spec", "key_usage", "multi_region", "custom_key_store_id"}),
    "aws_lambda_event_source_mapping": frozenset({"event_source_arn", "queues", "topics", "starting_position"}),
    "aws_lambda_function": frozenset({"function_name", "package_type", "tenancy_config"}),
    "aws_kms_alias": frozenset({"name", "name_prefix"}),
    "aws_launch_template": frozenset({"name", "name_prefix"}),
    "aws_lb": frozenset({"name", "name_prefix", "load_balancer_type", "internal", "customer_owned_ipv4_pool"}),
    "aws_lb_listener": frozenset({"load_balancer_arn"}),
    "aws_lb_target_group": frozenset(
        {"name", "name_prefix", "port", "protocol", "protocol_version", "target_type", "vpc_id", "ip_address_type"}
    ),
    "aws_nat_gateway": frozenset({"allocation_id", "subnet_id", "connectivity_type", "private_ip"}),
    "aws_rds_cluster": frozenset(
        {
            *("availability_zones", "cluster_identifier", "cluster_identifier_prefix", "database_name"),
            *("db_subnet_group_name", "engine", "engine_mode", "kms_key_id", "master_username", "storage_encrypted"),
            *("snapshot_identifier", "restore_to_point_in_time"),
        }
    ),
    "aws_rds_cluster_instance": frozenset(
        {"availability_zone", "cluster_identifier", "db_subnet_group_name", "engine", "identifier", "identifier_prefix"}
    ),
    "aws_rds_cluster_parameter_group": frozenset({"family", "name", "name_prefix", "description"}),
    "aws_route": frozenset({"route_table_id", "destination_cidr_block", "destination_prefix_list_id"}),
    "aws_route_table": frozenset({"vpc_id"}),
    "aws_route_table_association": frozenset({"subnet_id", "gateway_id"}),
    "aws_s3_bucket": frozenset({"bucket", "bucket_prefix", "object_lock_enabled"}),
    "aws_s3_bucket_lifecycle_configuration": frozenset({"bucket"}),
    "aws_s3_bucket_logging": frozenset({"bucket", "expected_bucket_owner"}),
    "aws_s3_bucket_notification": frozenset({"bucket"}),
    "aws_s3_bucket_ownership_controls": frozenset({"bucket"}),
    "aws_s3_bucket_policy": frozenset({"bucket"}),
    "aws_s3_bucket_public_access_block": frozenset({"bucket"}),
    "aws_s3_bucket_server_side_encryption_configuration": frozenset({"bucket", "expected_bucket_owner"}),
    "aws_s3_bucket_versioning": frozenset({"bucket", "expected_bucket_owner"}),
    "aws_scheduler_schedule": frozenset({"name", "name_prefix", "group_name"}),
    "aws_scheduler_schedule_group": frozenset({"name", "name_prefix"}),
    "aws_secretsmanager_secret": frozenset({"name", "name_prefix"}),
    "aws_secretsmanager_secret_rotation": frozenset({"secret_id"}),
    "aws_secretsmanager_secret_version": frozenset({"secret_id", "secret_string", "secret_string_wo_version"}),
    "aws_security_group": frozenset({"vpc_id", "description", "name", "name_prefix"}),
    "aws_serverlessapplicationrepository_cloudformation_stack": frozenset({"name", "application_id"}),
    "aws_sfn_alias": frozenset({"name"}),
    "aws_sfn_state_machine": frozenset({"name", "name_prefix", "type"}),
    "aws_sns_topic": frozenset({"name", "name_prefix", "fifo_topic"}),
    "aws_sns_topic_policy": frozenset({"arn"}),
    "aws_sns_topic_subscription": frozenset({"endpoint", "protocol", "topic_arn"}),
    "aws_sqs_queue": frozenset({"name", "name_prefix", "fifo_queue"}),
    "aws_sqs_queue_policy": frozenset({"queue_url"}),
    "aws_sqs_queue_redrive_allow_policy": frozenset({"queue_url"}),
    "aws_ssm_parameter": frozenset({"name", "data_type"}),
    "aws_subnet": frozenset({"availability_zone", "availability_zone_id", "cidr_block", "vpc_id"}),
    "aws_vpc": frozenset({"cidr_block", "ipv4_ipam_pool_id", "ipv4_netmask_length"}),
    "aws_vpc_endpoint": frozenset({"vpc_id", "service_name", "vpc_endpoint_type"}),
    "aws_vpc_security_group_egress_rule": frozenset({"security_group_id"}),
    "aws_vpc_security_group_ingress_rule": frozenset({"security_group_id"}),
}

# With these strategies, and the service-linked role, Batch changes an EC2 environment in place.
UPDATABLE = {"BEST_FIT_PROGRESSIVE", "SPOT_CAPACITY_OPTIMIZED", "SPOT_PRICE_CAPACITY_OPTIMIZED"}


def replaces(kind: str, before: Mapping[str, Any], after: Mapping[str, Any], unknown: Mapping[str, Any]) -> set[str]:
    """Return the attributes that make an update a replacement. Raises KeyError for an unknown type."""
    forcing = REPLACING[kind]
    changed = different(before, after, unknown)
    found = changed - {"tags", "tags_all", "region"} if forcing is ALL_BUT_TAGS else changed & forcing
    if kind == "aws_batch_compute_environment" and "compute_resources" in changed:
        found |= _of_compute_resources(before, after)
    if kind == "aws_batch_job_definition" and _rules(before) != _rules(after):
        found.add("retry_strategy.evaluate_on_exit")
    return found | (changed & {"region"})


def different(before: Mapping[str, Any], after: Mapping[str, Any], unknown: Mapping[str, Any]) -> set[str]:
    """Return the attributes that differ, or may differ because they are known only after the apply."""
    return {name for name in {*before, *after, *unknown} if before.get(name) != after.get(name) or unknown.get(name)}


def _of_compute_resources(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    old, new = before["compute_resources"][0], after["compute_resources"][0]
    found = {name for name in ("placement_group", "spot_iam_fleet_role") if old.get(name) != new.get(name)}
    for block in ("ec2_configuration", "launch_template"):
        found |= {block} if len(old.get(block) or []) != len(new.get(block) or []) else set()
    if old["type"] in ("EC2", "SPOT") and not {old["allocation_strategy"], new["allocation_strategy"]} <= UPDATABLE:
        found |= {name for name in new if new[name] != old[name] and name not in ("max_vcpus", "min_vcpus", "type")}
    if old["type"].startswith("FARGATE") and old.get("tags") != new.get("tags"):
        found.add("tags")
    return {f"compute_resources.{name}" for name in found}


def _rules(job: Mapping[str, Any]) -> int:
    return len(job["retry_strategy"][0]["evaluate_on_exit"])
