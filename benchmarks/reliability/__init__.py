"""A campaign against genus: damaged and hostile files, kills and signals, in forked workers, by a seed."""
