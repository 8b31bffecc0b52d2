# The network: only the load balancer is public, and tasks reach AWS through endpoints or NAT.

mock_provider "aws" {
  source = "./tests/mocks"
}

override_module {
  target  = module.environment
  outputs = { name = "test" }
}

variables {
  loader_image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ratesflow/loader@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  api_image    = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ratesflow/api@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
  alarm_emails = ["oncall@example.com"]
  plain_http   = true
  zones        = 2
}

# Each security group has its own ID.
override_resource {
  target = aws_security_group.load_balancer
  values = { id = "sg-load-balancer" }
}

override_resource {
  target = aws_security_group.api
  values = { id = "sg-api" }
}

override_resource {
  target = aws_security_group.tasks
  values = { id = "sg-tasks" }
}

override_resource {
  target = aws_security_group.database
  values = { id = "sg-database" }
}

override_resource {
  target = aws_security_group.endpoints
  values = { id = "sg-endpoints" }
}

run "only_the_load_balancer_is_public" {
  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.public : rule.security_group_id == "sg-load-balancer"])
    error_message = "only the load balancer accepts traffic from CIDR ranges"
  }

  assert {
    condition = alltrue([
      for rule in concat(values(aws_vpc_security_group_ingress_rule.database), values(aws_vpc_security_group_ingress_rule.endpoints), [aws_vpc_security_group_ingress_rule.api]) :
      rule.cidr_ipv4 == null && rule.cidr_ipv6 == null && rule.referenced_security_group_id != null
    ])
    error_message = "everything else accepts traffic only from security groups of this network"
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.api.referenced_security_group_id == "sg-load-balancer"
    error_message = "the API accepts traffic only from the load balancer"
  }

  assert {
    condition     = sort(keys(aws_vpc_security_group_ingress_rule.database)) == tolist(["api", "rotation", "tasks"])
    error_message = "only the API, tasks and rotation reach the database"
  }

  assert {
    condition     = alltrue([for subnet in concat(aws_subnet.public, aws_subnet.private) : !subnet.map_public_ip_on_launch])
    error_message = "no subnet assigns public addresses"
  }

  assert {
    condition     = !aws_ecs_service.api.network_configuration[0].assign_public_ip && alltrue([for instance in aws_rds_cluster_instance.main : !instance.publicly_accessible])
    error_message = "neither the API's tasks nor the database have a public address"
  }

  assert {
    condition = alltrue([
      for block in [aws_s3_bucket_public_access_block.batches, aws_s3_bucket_public_access_block.logs] :
      block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets
    ])
    error_message = "no bucket can be made public"
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_s3_bucket_policy.batches.policy).Statement :
      statement.Effect == "Deny" && statement.Condition.Bool["aws:SecureTransport"] == "false"
    ])
    error_message = "the bucket's policy allows nothing, and denies requests without TLS"
  }

  assert {
    condition     = length(aws_nat_gateway.main) == 0 && length(aws_vpc_security_group_egress_rule.outside) == 0
    error_message = "without NAT nothing leaves the network"
  }

  assert {
    condition     = join(" ", sort(keys(aws_vpc_endpoint.interface))) == "ecr.api ecr.dkr logs rds secretsmanager sns sqs states"
    error_message = "without NAT every called service has an endpoint, and no other endpoint is billed"
  }

  assert {
    condition     = aws_s3_bucket_notification.batches.eventbridge && aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway"
    error_message = "S3 sends object events to EventBridge, and is reached through a gateway endpoint"
  }
}

run "nat_instead_of_endpoints" {
  # A separate environment: an existing one has instances in all of its zones.
  state_key = "nat"

  variables {
    nat_gateways = 1
    endpoints    = false
    rotation     = false
  }

  assert {
    condition     = length(aws_nat_gateway.main) == 1 && length(aws_route.nat) == 2
    error_message = "one gateway serves all zones"
  }

  assert {
    condition     = length(aws_vpc_endpoint.interface) == 0
    error_message = "there are no interface endpoints, which would be billed as well"
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_egress_rule.outside : rule.from_port == 443 && rule.to_port == 443])
    error_message = "only HTTPS leaves the network"
  }

  assert {
    condition     = sort(keys(aws_vpc_security_group_ingress_rule.database)) == tolist(["api", "tasks"])
    error_message = "without rotation it has no security group"
  }
}

run "endpoints_and_nat_during_a_switch" {
  command = plan

  variables {
    nat_gateways = 1
  }

  assert {
    condition     = length(aws_nat_gateway.main) == 1 && length(aws_vpc_endpoint.interface) == 8
    error_message = "the old connection remains until the new one exists"
  }
}

run "neither_endpoints_nor_nat" {
  command = plan

  variables {
    nat_gateways = 0
    endpoints    = false
  }

  expect_failures = [var.endpoints]
}

run "ec2_instances_use_endpoints" {
  command = plan

  variables {
    ec2_queue = true
  }

  assert {
    condition     = length(setsubtract(["ecs", "ecs-agent", "ecs-telemetry"], keys(aws_vpc_endpoint.interface))) == 0
    error_message = "they exist as long as jobs may run on EC2, whatever compute selects"
  }
}
