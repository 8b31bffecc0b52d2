"""The endpoints: their parameters, their bodies, their errors."""
