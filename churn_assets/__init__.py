"""The Dagster code location: from the feature store to a released champion, and the monitoring of it."""
