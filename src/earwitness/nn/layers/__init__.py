"""Parts that several encoders and poolings share."""
