//! The lport program.

fn main() {}
