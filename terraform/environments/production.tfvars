# Never down. What is not here has the default of variables*.tf, which is production's.
# What is not for a repository comes from outside, and is asked for: who hears alarms (TF_VAR_alarm_emails, TF_VAR_alarm_urls),
# and for HTTPS TF_VAR_certificate_arn and TF_VAR_api_domain.
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

nothing_arrived_hours = 72 # a weekend without files is none to be woken for
monthly_budget_usd    = 2500
