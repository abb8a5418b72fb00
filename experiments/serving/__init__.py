"""What the serving system does under load; see README.md."""
