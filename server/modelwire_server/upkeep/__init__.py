"""What keeps a service in order over the years: retention, verification, backups."""
