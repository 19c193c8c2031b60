"""The image catalogue: read from YAML, looked up by loosely spelled names, and turned into CDI's DataVolumes. Pure."""
