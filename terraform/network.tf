# The network: load balancer and NAT gateways in public subnets, everything else in private ones.

data "aws_availability_zones" "available" {
  #checkov:skip=CKV_AWS_394:Only the first zones are used, sorted by name; a new zone comes after them.
  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  zones = slice(data.aws_availability_zones.available.names, 0, var.zones)
}

resource "aws_vpc" "main" {
  cidr_block           = var.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = local.name }

  lifecycle {
    precondition {
      condition     = terraform_data.network.output.region == var.region
      error_message = "region cannot change: this environment was created in ${terraform_data.network.output.region}, where everything would be destroyed, and created empty in ${var.region}. Create another environment, in its own workspace, for another region; to move the data there, see docs/operations.md, \"Disaster recovery\"."
    }

    # Another CIDR range is another network: everything in this one would be destroyed, the database first.
    precondition {
      condition     = terraform_data.network.output.cidr == var.cidr
      error_message = "cidr cannot change: this environment was created with ${terraform_data.network.output.cidr}, and another range would destroy its network with its database. Create a new environment with the new range, restore the database there (docs/operations.md, \"Restore\"), and point the domain to it."
    }

    precondition {
      condition     = terraform_data.network.output.zones <= var.zones
      error_message = "zones cannot be lower than the ${terraform_data.network.output.zones} that this environment was created with: tasks and the database run in the subnets that would be deleted. To reduce costs, lower api_minimum_tasks or aurora_readers, or use one NAT gateway instead of endpoints. Fewer zones need a new environment."
    }
  }
}

# A resource without a security group of its own can reach nothing.
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.main.id
}

resource "aws_subnet" "public" {
  count = var.zones

  vpc_id                  = aws_vpc.main.id
  availability_zone       = local.zones[count.index]
  cidr_block              = cidrsubnet(var.cidr, 8, count.index)
  map_public_ip_on_launch = false
  tags                    = { Name = "${local.name}-public-${local.zones[count.index]}" }
}

resource "aws_subnet" "private" {
  count = var.zones

  vpc_id                  = aws_vpc.main.id
  availability_zone       = local.zones[count.index]
  cidr_block              = cidrsubnet(var.cidr, 4, count.index + 1)
  map_public_ip_on_launch = false
  tags                    = { Name = "${local.name}-private-${local.zones[count.index]}" }
}

resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id
  tags   = { Name = local.name }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.main.id
  tags   = { Name = "${local.name}-public" }
}

resource "aws_route" "internet" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.main.id
}

resource "aws_route_table_association" "public" {
  count = var.zones

  route_table_id = aws_route_table.public.id
  subnet_id      = aws_subnet.public[count.index].id
}

resource "aws_route_table" "private" {
  count = var.zones

  vpc_id = aws_vpc.main.id
  tags   = { Name = "${local.name}-private-${local.zones[count.index]}" }
}

resource "aws_route_table_association" "private" {
  count = var.zones

  route_table_id = aws_route_table.private[count.index].id
  subnet_id      = aws_subnet.private[count.index].id
}

resource "aws_eip" "nat" {
  #checkov:skip=CKV2_AWS_19:Addresses of NAT gateways, which are not EC2 instances.
  count = var.nat_gateways

  domain = "vpc"
  tags   = { Name = "${local.name}-nat-${count.index}" }
}

resource "aws_nat_gateway" "main" {
  count = var.nat_gateways

  allocation_id = aws_eip.nat[count.index].id
  subnet_id     = aws_subnet.public[count.index].id
  tags          = { Name = "${local.name}-${local.zones[count.index]}" }
  depends_on    = [aws_internet_gateway.main]
}

resource "aws_route" "nat" {
  count = var.nat_gateways > 0 ? var.zones : 0

  route_table_id         = aws_route_table.private[count.index].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.main[count.index % var.nat_gateways].id
}
