variable "region" {
  description = "AWS region of state and images."
  type        = string
  default     = "eu-central-1"
}

variable "kept_images" {
  description = "Images that each repository keeps; what a running job definition names must be among them."
  type        = number
  default     = 100
}

variable "gitlab_url" {
  description = "GitLab whose jobs may take on the role of CI."
  type        = string
  default     = "https://gitlab.com"
}

variable "gitlab_project" {
  description = "Project of that GitLab, as GROUP/PROJECT; none makes no role."
  type        = string
  default     = null
}

variable "ci_policy_arns" {
  description = "Policies of CI's role. It makes roles and networks, so it can do nearly everything: the account says how far."
  type        = list(string)
  default     = []
}
