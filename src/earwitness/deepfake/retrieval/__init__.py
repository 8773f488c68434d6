"""RAD: retrieval-augmented audio deepfake detection (arXiv 2404.13892). Genuine speech that sounds most like a
recording is found in a database, layer by layer of an encoder, and a classifier looks at the differences.

    layers     what hears: all layers of an encoder, with the hash of its weights
    recipe     how an index was made; it must be heard in the same way again
    hearing    segments become embeddings and short features
    store      an index on disk: appended to, never left half written
    searching  a faiss index a layer, exact or approximate
    guard      a recording is never its own neighbour
    database   the segments of an index, and the nearest of them
    building   a manifest of genuine speech becomes an index
    nearest    the recordings that a person should listen to
    rad_mfa    the classifier; `cached` and `training` teach it
"""
