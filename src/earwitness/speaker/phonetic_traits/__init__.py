"""ExPO (arXiv 2501.05729) and PhiNet (arXiv 2604.01590): speaker verification that explains itself phone by phone."""
