# Who may upload files to the inbox from outside the account.

variable "suppliers" {
  description = "Suppliers by name, each with a folder of the inbox (by default its name). principals are accounts (their administrators choose who) or ARNs of roles and users. They write directly; with an external_id they assume a role instead and present that ID."
  type = map(object({
    principals  = list(string)
    prefix      = optional(string)
    external_id = optional(string)
  }))
  default = {}

  validation {
    condition     = alltrue([for name in keys(var.suppliers) : can(regex("^[a-z][a-z0-9]{0,15}$", name))])
    error_message = "The name of a supplier must be 1 to 16 lower-case letters and digits, beginning with a letter: it becomes part of a role name."
  }

  validation {
    condition     = alltrue([for supplier in values(var.suppliers) : length(supplier.principals) > 0])
    error_message = "Each supplier needs at least one principal: an account, or the ARN of a role or user."
  }

  validation {
    condition = alltrue(flatten([for supplier in values(var.suppliers) : [
      for principal in supplier.principals : can(regex("^([0-9]{12}|arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/-]+)$", principal))
    ]]))
    error_message = "A principal must be a 12-digit account, or the ARN of a role or user such as arn:aws:iam::210987654321:role/prices; wildcards and ARNs of sessions, which change, are not allowed."
  }

  validation {
    condition = alltrue([
      for supplier in values(var.suppliers) : supplier.prefix == null ? true :
      can(regex("^([A-Za-z0-9][A-Za-z0-9._-]*/)+$", supplier.prefix)) && length(supplier.prefix) <= 200
    ])
    error_message = "The prefix of a supplier must be folders below the inbox, such as acme/ or acme/prices/: letters, digits, dots, hyphens and underscores, with a trailing slash."
  }

  validation {
    condition = alltrue([
      for pair in setproduct(keys(var.suppliers), keys(var.suppliers)) :
      pair[0] == pair[1] ||
      !startswith(coalesce(var.suppliers[pair[0]].prefix, "${pair[0]}/"), coalesce(var.suppliers[pair[1]].prefix, "${pair[1]}/"))
    ])
    error_message = "The prefix of a supplier must not equal or contain another supplier's prefix: they could overwrite each other's files."
  }

  validation {
    condition     = alltrue([for supplier in values(var.suppliers) : supplier.external_id == null || can(regex("^[A-Za-z0-9+=,.@:/-]{8,128}$", supplier.external_id))])
    error_message = "external_id must be 8 to 128 characters of letters, digits and +=,.@:/-. Generate one per supplier, for example with uuidgen."
  }
}
