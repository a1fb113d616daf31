//! lport files.
