output "environment" {
  description = "Name of the environment: what `ratesflow --env` takes."
  value       = local.environment
}

output "api_url" {
  description = "Where the API answers."
  value       = local.api_url
}

output "api_task_definition" {
  description = "Revision that the API's service was told to run. ECS goes back to the one before if its tasks never become healthy."
  value       = aws_ecs_task_definition.api.arn
}

output "loader_image" {
  description = "Image of the loader that was applied last: to go back to, or to destroy with."
  value       = var.loader_image
}

output "api_image" {
  description = "Image of the API that was applied last."
  value       = var.api_image
}

output "load_balancer" {
  description = "Address of the load balancer, to which api_domain has to point."
  value       = aws_lb.api.dns_name
}

output "inbox" {
  description = "Where batches are uploaded to."
  value       = local.parameters.inbox
}

output "dashboard" {
  description = "The dashboard, if there is monitoring."
  value       = var.monitoring ? "https://${local.region}.console.aws.amazon.com/cloudwatch/home?region=${local.region}#dashboards/dashboard/${local.global_name}" : null
}

# A migration only adds (what is dropped, a later release drops), so it goes before the code that needs it: take the
# definition below, register a revision of it with the new image, submit that with the parameter `run`, wait, and only then
# apply. Where nothing is deployed yet, apply first: the API waits for its tables for five minutes.
output "migration" {
  description = "What a migration needs before an apply: job queue, job definition (its latest revision), bucket of the result."
  value = {
    job_queue      = local.job_queue_arn
    job_definition = aws_batch_job_definition.task["migrate"].name
    bucket         = aws_s3_bucket.batches.bucket
  }
}

output "operator_policy_arn" {
  description = "The policy of those who use `ratesflow --env NAME`: attach it to their roles."
  value       = aws_iam_policy.operator.arn
}
