output "state_bucket" {
  description = "For terraform init -backend-config=bucket=…"
  value       = aws_s3_bucket.state.bucket
}

output "repositories" {
  description = "Where images are pushed to."
  value       = { for name, repository in aws_ecr_repository.image : name => repository.repository_url }
}

output "ci_roles" {
  description = "Roles that the jobs of GitLab assume: images, and one for each environment."
  value       = { for name, role in aws_iam_role.ci : name => role.arn }
}
