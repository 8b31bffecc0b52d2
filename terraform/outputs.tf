output "environment" {
  description = "Name of the environment, for `ratesflow --env`."
  value       = local.environment
}

output "api_url" {
  description = "URL of the API."
  value       = local.api_url
}

output "api_task_definition" {
  description = "Revision that the API's service should run. ECS goes back to the previous one if its tasks never become healthy."
  value       = aws_ecs_task_definition.api.arn
}

output "loader_image" {
  description = "Image of the loader that was applied last: for a rollback, or to destroy the environment."
  value       = var.loader_image
}

output "api_image" {
  description = "Image of the API that was applied last."
  value       = var.api_image
}

output "load_balancer" {
  description = "Address of the load balancer, to which api_domain must point."
  value       = aws_lb.api.dns_name
}

output "inbox" {
  description = "Where batches are uploaded to."
  value       = local.parameters.inbox
}

output "dashboard" {
  description = "URL of the dashboard, if there is monitoring."
  value       = var.monitoring ? "https://${local.region}.console.aws.amazon.com/cloudwatch/home?region=${local.region}#dashboards/dashboard/${local.global_name}" : null
}

# A migration only adds (a later release drops what is unused), so it runs before the code that needs it: take the definition
# below, register a revision with the new image, submit it with the parameter `run_id`, wait, and only then apply. In a new
# environment, apply first: the API waits five minutes for its tables.
output "migration" {
  description = "What a migration before an apply needs: job queue, job definition (its latest revision), bucket of the result."
  value = {
    job_queue      = local.job_queue_arn
    job_definition = aws_batch_job_definition.task["migrate"].name
    bucket         = aws_s3_bucket.batches.bucket
  }
}

output "operator_policy_arn" {
  description = "Policy for users of `ratesflow --env NAME`: attach it to their roles."
  value       = aws_iam_policy.operator.arn
}
