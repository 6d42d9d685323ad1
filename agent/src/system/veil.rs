//! Puts secrets in on the way to a machine and takes them out on the way back.
