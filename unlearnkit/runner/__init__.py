"""Notebooks as jobs: grids of them, the batch that runs them, and a table's row made again."""
