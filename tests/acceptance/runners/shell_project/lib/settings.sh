# The value of a setting in config.yml.
setting() { sed -n "s/^$1: *//p" config.yml | tr -d "'\""; }
