"""Routers, schedulers, KV caches and transfers: the serving side, on the kernel."""
