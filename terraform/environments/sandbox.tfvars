# For `make rehearsal`: like production where that tests something (Aurora with a reader, rotation, alarms), otherwise of minimal
# size; destroyed after some hours.
deletion_protection = false
zones               = 2
nat_gateways        = 1 # for a few hours, one gateway costs a quarter of the endpoints
endpoints           = false

compute        = "fargate-spot"
maximum_vcpus  = 8
maximum_shards = 4
shard_bytes    = 33554432 # so that several tasks read a file of 64 MiB in parallel

aurora                  = true
aurora_minimum_capacity = 0.5
aurora_maximum_capacity = 4
aurora_readers          = 1
backup_days             = 1

api_minimum_tasks = 2
api_maximum_tasks = 4
api_cpu           = 256
api_memory        = 512
api_workers       = 1

# The rehearsal runs both manually: nothing runs in between.
gc_schedule      = "rate(6 hours)"
compact_schedule = "rate(6 hours)"

log_days         = 7
report_days      = 30
old_version_days = 31
