# Who may put files into the inbox from outside the account.

variable "suppliers" {
  description = "Suppliers by name, each with a folder of the inbox (by default its name): principals are accounts (their administrators choose who) or ARNs of roles and users. They write directly; with an external_id they assume a role for it instead, giving that id."
  type = map(object({
    principals  = list(string)
    prefix      = optional(string)
    external_id = optional(string)
  }))
  default = {}

  validation {
    condition     = alltrue([for name in keys(var.suppliers) : can(regex("^[a-z][a-z0-9]{0,15}$", name))])
    error_message = "A supplier is named with 1 to 16 small letters and digits, a letter first: the name becomes part of a role's."
  }

  validation {
    condition     = alltrue([for supplier in values(var.suppliers) : length(supplier.principals) > 0])
    error_message = "A supplier needs a principal: an account, or the ARN of a role or user."
  }

  validation {
    condition = alltrue(flatten([for supplier in values(var.suppliers) : [
      for principal in supplier.principals : can(regex("^([0-9]{12}|arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/-]+)$", principal))
    ]]))
    error_message = "A supplier's principal is an account's 12 digits, or the ARN of a role or user such as arn:aws:iam::210987654321:role/prices: never a wildcard, nor the ARN of a session, which changes."
  }

  validation {
    condition = alltrue([
      for supplier in values(var.suppliers) : supplier.prefix == null ? true :
      can(regex("^([A-Za-z0-9][A-Za-z0-9._-]*/)+$", supplier.prefix)) && length(supplier.prefix) <= 200
    ])
    error_message = "A supplier's prefix is folders below the inbox, such as acme/ or acme/prices/: letters, digits, dots, hyphens and underscores, with a slash at the end."
  }

  validation {
    condition = alltrue([
      for pair in setproduct(keys(var.suppliers), keys(var.suppliers)) :
      pair[0] == pair[1] ||
      !startswith(coalesce(var.suppliers[pair[0]].prefix, "${pair[0]}/"), coalesce(var.suppliers[pair[1]].prefix, "${pair[1]}/"))
    ])
    error_message = "No supplier's prefix may be another's, or lie within another's: they would overwrite each other's files."
  }

  validation {
    condition     = alltrue([for supplier in values(var.suppliers) : supplier.external_id == null || can(regex("^[A-Za-z0-9+=,.@:/-]{8,128}$", supplier.external_id))])
    error_message = "An external_id has 8 to 128 characters of letters, digits and +=,.@:/-: make one up for each supplier, such as by uuidgen."
  }
}
