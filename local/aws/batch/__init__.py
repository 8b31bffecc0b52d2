"""The embedded AWS Batch: jobs as processes."""
