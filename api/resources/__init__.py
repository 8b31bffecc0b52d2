"""The endpoints: parameters, responses, errors."""
