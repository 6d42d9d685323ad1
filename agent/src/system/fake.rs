//! A machine made of data, for tests.
