# Allowed connections. The internet reaches only the load balancer.

resource "aws_security_group" "load_balancer" {
  name        = "${local.name}-load-balancer"
  description = "From the internet to the API"
  vpc_id      = aws_vpc.main.id
}

resource "aws_security_group" "api" {
  name        = "${local.name}-api"
  description = "Tasks of the API"
  vpc_id      = aws_vpc.main.id
}

resource "aws_security_group" "tasks" {
  name        = "${local.name}-tasks"
  description = "Tasks of the workflow"
  vpc_id      = aws_vpc.main.id
}

resource "aws_security_group" "rotation" {
  #checkov:skip=CKV2_AWS_5:Attached to the function that the stack in rotation.tf creates.
  count = var.rotation ? 1 : 0

  name        = "${local.name}-rotation"
  description = "Rotation of passwords"
  vpc_id      = aws_vpc.main.id
}

resource "aws_security_group" "database" {
  name        = "${local.name}-database"
  description = "PostgreSQL"
  vpc_id      = aws_vpc.main.id
}

resource "aws_security_group" "endpoints" {
  name        = "${local.name}-endpoints"
  description = "Interface endpoints of AWS services"
  vpc_id      = aws_vpc.main.id
}

locals {
  clients = merge(
    { api = aws_security_group.api.id, tasks = aws_security_group.tasks.id },
    { for group in aws_security_group.rotation : "rotation" => group.id },
  )
  # With NAT the services are outside the network; without it they are endpoints inside, plus S3, which has a prefix list.
  outside = var.nat_gateways > 0 ? local.clients : {}

  public_ports = {
    for pair in setproduct(var.api_allowed_cidrs, var.certificate_arn == null ? [80] : [80, 443]) :
    "${pair[0]}:${pair[1]}" => { cidr = pair[0], port = pair[1] }
  }
}

resource "aws_vpc_security_group_ingress_rule" "public" {
  #checkov:skip=CKV_AWS_260:The load balancer serves HTTP if there is no certificate, and redirects it if there is one.
  for_each = local.public_ports

  description       = "HTTP and HTTPS to the load balancer"
  security_group_id = aws_security_group.load_balancer.id
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "load_balancer" {
  description                  = "Requests and health checks to the API"
  security_group_id            = aws_security_group.load_balancer.id
  referenced_security_group_id = aws_security_group.api.id
  ip_protocol                  = "tcp"
  from_port                    = local.api_port
  to_port                      = local.api_port
}

resource "aws_vpc_security_group_ingress_rule" "api" {
  description                  = "Requests from the load balancer"
  security_group_id            = aws_security_group.api.id
  referenced_security_group_id = aws_security_group.load_balancer.id
  ip_protocol                  = "tcp"
  from_port                    = local.api_port
  to_port                      = local.api_port
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  for_each = local.clients

  description                  = "PostgreSQL from ${each.key}"
  security_group_id            = aws_security_group.database.id
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = local.database_port
  to_port                      = local.database_port
}

resource "aws_vpc_security_group_egress_rule" "database" {
  for_each = local.clients

  description                  = "PostgreSQL"
  security_group_id            = each.value
  referenced_security_group_id = aws_security_group.database.id
  ip_protocol                  = "tcp"
  from_port                    = local.database_port
  to_port                      = local.database_port
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  for_each = local.clients

  description                  = "HTTPS from ${each.key}"
  security_group_id            = aws_security_group.endpoints.id
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_security_group_egress_rule" "endpoints" {
  for_each = local.clients

  description                  = "HTTPS to AWS services"
  security_group_id            = each.value
  referenced_security_group_id = aws_security_group.endpoints.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_security_group_egress_rule" "s3" {
  for_each = local.clients

  description       = "HTTPS to S3"
  security_group_id = each.value
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "outside" {
  for_each = local.outside

  description       = "HTTPS through NAT to AWS services"
  security_group_id = each.value
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
