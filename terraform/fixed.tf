# What an environment begins with and cannot change, as database.tf does for the kind of its database: the value of the
# first apply stays in the state, and a plan with another one is refused before anything is touched.

resource "terraform_data" "network" {
  input = { region = var.region, cidr = var.cidr, zones = var.zones }

  lifecycle {
    ignore_changes = [input]
  }
}
