# The registry: an image is pushed once, scanned, and referenced by its digest from then on.
#
# A deployed image gets a further tag, deployed-ENVIRONMENT-…, which protects it. ECR expires an image by one rule at most, and an
# image that matches the tags of a rule is not expired by a rule of lower priority, which is one with a higher number
# (https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html). Several prefixes in one rule would all have to
# match, so each environment has its own rule. Rules go by the time of the push, not of the deployment.

locals {
  repositories = { loader = "ratesflow/loader", api = "ratesflow/api" }

  image_rules = concat(
    [{
      description = "Untagged images, from incomplete pushes"
      selection   = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 7 }
    }],
    [for each in var.environments : {
      description = "The newest images deployed to ${each.name}"
      selection   = { tagStatus = "tagged", tagPrefixList = ["deployed-${each.name}-"], countType = "imageCountMoreThan", countNumber = each.kept_images }
    }],
    # Environments that are not listed above.
    [{
      description = "The newest images deployed elsewhere"
      selection   = { tagStatus = "tagged", tagPrefixList = ["deployed-"], countType = "imageCountMoreThan", countNumber = 1000 }
    }],
    [{
      description = "The newest images, deployed or not"
      selection   = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = var.kept_images }
    }],
  )
}

resource "aws_ecr_repository" "image" {
  #checkov:skip=CKV_AWS_136:Images contain no secrets; ECR's own key encrypts them.
  for_each = local.repositories

  name                 = each.value
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "AES256"
  }
}

resource "aws_ecr_lifecycle_policy" "image" {
  for_each = aws_ecr_repository.image

  repository = each.value.name
  policy = jsonencode({
    rules = [for index, rule in local.image_rules : merge(rule, { rulePriority = index + 1, action = { type = "expire" } })]
  })
}
