"""What sessions ask: turns and plans of agents, and what their prompts share."""
