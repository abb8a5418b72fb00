"""What agents change: cost, power and capacity as traffic moves from chat to agents."""
