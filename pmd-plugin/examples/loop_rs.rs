//! A driver in Rust as a shared object: each lport receives what it sent. `loop.c` beside it is the same in C.
//!
//! ```sh
//! cargo build --release --package pmd-plugin --example loop_rs
//! lport run -d target/release/examples/libloop_rs.so FILE
//! ```

fn main() {}
