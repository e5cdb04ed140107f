"""From a merged commit to a verified deployment."""
