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

variable "nat_gateways" {
  description = "NAT gateways, through which tasks reach AWS in place of endpoints: 0 (interface endpoints instead), 1, or one a zone. Between 0 and more go by endpoints = true."
  type        = number
  default     = 0

  validation {
    condition     = contains([0, 1, var.zones], var.nat_gateways)
    error_message = "nat_gateways must be 0, 1 or as many as there are zones."
  }
}

variable "endpoints" {
  description = "Interface endpoints of AWS's services, unless there are NAT gateways; true keeps them beside, so that a change from one to the other leaves no moment without: apply with both, then with what shall stay."
  type        = bool
  default     = null

  validation {
    condition     = coalesce(var.endpoints, true) || var.nat_gateways > 0
    error_message = "Without NAT gateways endpoints are the only way to AWS: leave endpoints out, or set nat_gateways."
  }
}
