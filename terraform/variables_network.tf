# The network.

variable "cidr" {
  description = "CIDR range of the network: a /16."
  type        = string
  default     = "10.20.0.0/16"

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && endswith(var.cidr, "/16")
    error_message = "cidr must be a /16, such as 10.20.0.0/16."
  }
}

variable "zones" {
  description = "Number of availability zones: 2 or 3."
  type        = number
  default     = 3

  validation {
    condition     = contains([2, 3], var.zones)
    error_message = "zones must be 2 or 3: the load balancer and the database need two."
  }
}

# To switch between the two, use two applies: add the new one first, then delete the old one. For example nat_gateways first and
# endpoints = false after it, or endpoints = true first. With a single apply no task starts for some minutes.
variable "nat_gateways" {
  description = "NAT gateways, through which tasks reach AWS if there are no endpoints: 0, 1, or one per zone."
  type        = number
  default     = 0

  validation {
    condition     = contains([0, 1, var.zones], var.nat_gateways)
    error_message = "nat_gateways must be 0, 1 or the number of zones."
  }
}

variable "endpoints" {
  description = "Interface endpoints in each zone for the AWS services that tasks call; without them NAT gateways are required."
  type        = bool
  default     = true

  validation {
    condition     = var.endpoints || var.nat_gateways > 0
    error_message = "Without endpoints and NAT gateways no task can reach AWS: set one of them and apply before you remove the other."
  }
}
