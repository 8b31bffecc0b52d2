# Highly available. Variables that are not set here have their defaults from variables*.tf, which are those of production.
# Values that do not belong into a repository are set outside, and required: the recipients of alarms (TF_VAR_alarm_emails,
# TF_VAR_alarm_urls), and for HTTPS TF_VAR_certificate_arn and TF_VAR_api_domain.
zones          = 3
compute        = "fargate"
maximum_vcpus  = 64
maximum_shards = 16

aurora                  = true
aurora_minimum_capacity = 1
aurora_maximum_capacity = 32
aurora_readers          = 2
backup_days             = 14

api_minimum_tasks = 3
api_maximum_tasks = 12

nothing_arrived_hours = 72 # a weekend without files raises no alarm
monthly_budget_usd    = 2500
