"""The long runs, which `make soak` runs and records in docs/soak.md; `make test` runs slices of the same code."""
