output "state_bucket" {
  description = "State bucket, for terraform init -backend-config=bucket=…"
  value       = aws_s3_bucket.state.bucket
}

output "repositories" {
  description = "Repositories for images."
  value       = { for name, repository in aws_ecr_repository.image : name => repository.repository_url }
}

output "ci_roles" {
  description = "Roles that GitLab jobs assume: one for images, and one per environment."
  value       = { for name, role in aws_iam_role.ci : name => role.arn }
}
