"""The business that the platform serves: customers who ask, without end, and may drift."""
