# Settings that cannot change after the first apply, as the kind of the database in database.tf: the state keeps the first
# value, and a plan with another one fails before anything changes.

resource "terraform_data" "network" {
  input = { region = var.region, cidr = var.cidr, zones = var.zones }

  lifecycle {
    ignore_changes = [input]
  }
}
