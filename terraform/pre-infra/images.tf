# The registry: an image is pushed once, scanned, and named by its digest from then on.
#
# An image that is deployed gets a further tag, deployed-ENVIRONMENT-…, and is kept by that. ECR expires an image by one rule at
# most, and an image that matches the tags of a rule by no rule of a lower priority, that is of a higher number
# (https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html). Several prefixes in one rule would have to
# match all at once, so each environment has a rule. Rules go by when an image was pushed, not by when it was deployed.

locals {
  repositories = { loader = "ratesflow/loader", api = "ratesflow/api" }

  image_rules = concat(
    [{
      description = "Images without a tag, which no push finished"
      selection   = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 7 }
    }],
    [for each in var.environments : {
      description = "What was deployed to ${each.name}, the newest"
      selection   = { tagStatus = "tagged", tagPrefixList = ["deployed-${each.name}-"], countType = "imageCountMoreThan", countNumber = each.kept_images }
    }],
    # Environments that are not listed above.
    [{
      description = "What was deployed elsewhere, the newest"
      selection   = { tagStatus = "tagged", tagPrefixList = ["deployed-"], countType = "imageCountMoreThan", countNumber = 1000 }
    }],
    [{
      description = "The newest, deployed or not"
      selection   = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = var.kept_images }
    }],
  )
}

resource "aws_ecr_repository" "image" {
  #checkov:skip=CKV_AWS_136:Images hold no secret; ECR's own key encrypts them.
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
