"""Pictures between the file and the model: decoders, resizes, framing, colour planes."""
