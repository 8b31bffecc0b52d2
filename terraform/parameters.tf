# Addresses for the command line: `ratesflow --env NAME` reads them. See workflow/client/environment.py.

locals {
  parameters = {
    bucket                  = aws_s3_bucket.batches.bucket
    inbox                   = "s3://${aws_s3_bucket.batches.bucket}/${local.inbox}"
    state-machine-arn       = aws_sfn_state_machine.ingestion.arn
    state-machine-alias-arn = aws_sfn_alias.live.arn
    job-queue               = local.job_queue_arn
    job-prefix              = local.name
    log-group               = aws_cloudwatch_log_group.tasks.name
    topic-arn               = aws_sns_topic.notifications.arn
    api-url                 = local.api_url
    queue-url               = aws_sqs_queue.arrivals.id
    dead-letter-queue-url   = aws_sqs_queue.dead_letter.id
    shard-bytes             = tostring(var.shard_bytes)
    max-shards              = tostring(var.maximum_shards)
    ignored-files           = length(var.ignored_files) == 0 ? "," : join(",", var.ignored_files) # a parameter cannot be empty
  }
}

resource "aws_ssm_parameter" "address" {
  #checkov:skip=CKV2_AWS_34:Names and addresses, not secrets.
  #checkov:skip=CKV_AWS_337:Names and addresses, not secrets.
  for_each = local.parameters

  name  = "/ratesflow/${local.environment}/${each.key}"
  type  = "String"
  value = each.value
}
