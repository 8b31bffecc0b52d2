# The network.

variable "cidr" {
  description = "Addresses of the network: a /16."
  type        = string
  default     = "10.20.0.0/16"

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && endswith(var.cidr, "/16")
    error_message = "cidr must be a /16, such as 10.20.0.0/16."
  }
}

variable "zones" {
  description = "Availability zones that everything is spread over: 2 or 3."
  type        = number
  default     = 3

  validation {
    condition     = contains([2, 3], var.zones)
    error_message = "zones must be 2 or 3: the load balancer and the database need two."
  }
}

# Either way is made before the other is taken away, if the two are changed by one apply after the other: nat_gateways
# first and endpoints = false after it, or endpoints = true first. In one apply no task starts for some minutes.
variable "nat_gateways" {
  description = "NAT gateways, through which tasks reach AWS where there are no endpoints: 0, 1, or one a zone."
  type        = number
  default     = 0

  validation {
    condition     = contains([0, 1, var.zones], var.nat_gateways)
    error_message = "nat_gateways must be 0, 1 or as many as there are zones."
  }
}

variable "endpoints" {
  description = "Interface endpoints of the AWS services that tasks call, in each zone; without them there must be NAT gateways."
  type        = bool
  default     = true

  validation {
    condition     = var.endpoints || var.nat_gateways > 0
    error_message = "Without endpoints and NAT gateways no task reaches AWS: set one of them, apply, and only then take the other away."
  }
}
