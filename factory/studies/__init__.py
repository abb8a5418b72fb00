"""Questions asked of many runs or many designs at once."""

from factory.studies.cache_study import CachePoint, cache_study

__all__ = ["CachePoint", "cache_study"]
