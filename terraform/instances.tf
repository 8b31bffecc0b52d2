# EC2 instances, for tasks that need more than Fargate offers, or must start at once: see minimum_vcpus.

locals {
  # Batch gives the containers of a job the network of the instance, so a hop limit cannot keep them from the instance's role. The
  # image's user is not root; only root processes need the role of the instance: the ECS agent and Docker. So the metadata service is
  # blocked for all other users (Amazon EC2 User Guide, "Limit access to the Instance Metadata Service"), or with kernel routes if
  # the AMI lacks that module. A task's own role is at 169.254.170.2, which stays open. A boothook runs at every start, before the
  # agent does. Batch requires user data in MIME multi-part format.
  instances_boot = <<-EOT
    MIME-Version: 1.0
    Content-Type: multipart/mixed; boundary="==ratesflow=="

    --==ratesflow==
    Content-Type: text/cloud-boothook; charset="us-ascii"

    #cloud-boothook
    #!/bin/sh
    iptables -w -I OUTPUT -d 169.254.169.254 -m owner ! --uid-owner 0 -j REJECT ||
      ip rule add to 169.254.169.254 uidrange 1-4294967294 priority 10 protocol kernel prohibit

    --==ratesflow==--
  EOT
}

resource "aws_launch_template" "instances" {
  count = var.ec2_queue ? 1 : 0

  name_prefix            = "${local.name}-tasks-"
  update_default_version = true
  user_data              = base64encode(local.instances_boot)

  # IMDSv2 only: a request that was tricked into a wrong address has no token.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_type           = "gp3"
      volume_size           = max(50, var.scratch_gib)
      encrypted             = true
      delete_on_termination = true
    }
  }

  tag_specifications {
    resource_type = "instance"
    tags          = merge(local.tags, { Name = "${local.name}-tasks" })
  }
}

resource "aws_iam_role" "instances" {
  count = var.ec2_queue ? 1 : 0

  name = "${local.global_name}-instances"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "instances" {
  count = var.ec2_queue ? 1 : 0

  role       = aws_iam_role.instances[0].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
}

resource "aws_iam_instance_profile" "instances" {
  count = var.ec2_queue ? 1 : 0

  name = "${local.global_name}-instances"
  role = aws_iam_role.instances[0].name
}
