"""The platform in containers: `docker-compose.yaml` and what its services are configured with."""
