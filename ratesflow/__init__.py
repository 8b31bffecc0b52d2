"""Loads files of freight prices from S3 into PostgreSQL, all of a file or none of it, and serves daily averages."""

from pkgutil import extend_path

# In a checkout's root, Python without `-P` imports this folder even if ratesflow is installed elsewhere. The packages
# that a checkout keeps beside this folder are then found in the installation.
__path__ = extend_path(__path__, __name__)
