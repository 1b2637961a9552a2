//! From a config file to a running pipeline: assembly, device loop, server, run folder
