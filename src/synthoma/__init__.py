"""synthoma: from a folder of tumour scans to a synthetic cohort, and an honest account of it."""

__version__ = "0.1.0"
