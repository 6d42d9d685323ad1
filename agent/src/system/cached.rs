//! Remembers answers of probes until something is changed, so that what costs a process is asked once.
