"""The Dagster code location: from the feature store to a released, monitored champion."""
