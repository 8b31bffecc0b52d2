# Like production, but smaller: for tests of the next release. The recipients of its alarms are set outside (TF_VAR_alarm_emails,
# TF_VAR_alarm_urls).
deletion_protection = false
zones               = 2
nat_gateways        = 1 # one gateway costs less than eight endpoints in each zone
endpoints           = false

compute        = "fargate-spot"
maximum_vcpus  = 16
maximum_shards = 8

aurora                  = true
aurora_minimum_capacity = 0.5
aurora_maximum_capacity = 8
aurora_readers          = 1
backup_days             = 3

api_minimum_tasks = 2
api_maximum_tasks = 4
api_cpu           = 512
api_memory        = 1024

gc_schedule      = "rate(1 hour)"
compact_schedule = "rate(1 hour)"

log_days           = 30
report_days        = 90
monthly_budget_usd = 600
