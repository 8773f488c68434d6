"""Tables of recordings: manifests, readers of corpora, splits and leak guards, batches."""
