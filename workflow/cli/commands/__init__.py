"""The commands, one file each, in folders by subject; `registry` lists them."""
