"""The database: tables, migrations, connections, and the reference data of ports and regions."""
