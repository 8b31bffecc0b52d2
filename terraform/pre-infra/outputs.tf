output "state_bucket" {
  description = "For terraform init -backend-config=bucket=…"
  value       = aws_s3_bucket.state.bucket
}

output "repositories" {
  description = "Where images are pushed to."
  value       = { for name, repository in aws_ecr_repository.image : name => repository.repository_url }
}

output "ci_role" {
  description = "Role that the jobs of GitLab take on."
  value       = one(aws_iam_role.ci[*].arn)
}
