"""What every room needs: errors, configurations, hashes, run records, and files that are whole or absent."""
