"""The types that all parts of the service share; they import no other part."""
