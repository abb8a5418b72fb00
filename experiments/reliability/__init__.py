"""What failures cost, and what spares save."""
