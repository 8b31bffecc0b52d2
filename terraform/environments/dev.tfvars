# For development: minimal sizes, one instance of each, short retention.
deletion_protection = false
zones               = 2
nat_gateways        = 1 # one gateway costs less than seven endpoints in each zone
endpoints           = false

compute        = "fargate-spot"
maximum_vcpus  = 8
maximum_shards = 4

aurora       = false
rds_multi_az = false
backup_days  = 1

api_minimum_tasks = 1
api_maximum_tasks = 2
api_spot          = true
api_cpu           = 256
api_memory        = 512
api_workers       = 1

gc_schedule      = "rate(6 hours)"
compact_schedule = "rate(6 hours)"

monitoring         = false
rotation           = false
log_days           = 7
report_days        = 30
old_version_days   = 31
monthly_budget_usd = 150
