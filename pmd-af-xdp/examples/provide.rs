//! Lets programs without privileges receive from an interface (`xsk_pin_path`).
//!
//! ```sh
//! sudo mount -t bpf bpf /sys/fs/bpf          # if it is not mounted already
//! sudo mkdir /sys/fs/bpf/eth0
//! sudo target/debug/examples/provide eth0 /sys/fs/bpf/eth0
//! sudo chown "$USER" /sys/fs/bpf/eth0/xsks_map
//! ```
//!
//! It attaches the XDP program, pins its map, and ends. `sudo rm -r /sys/fs/bpf/eth0` takes both away.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (interface, directory, generic) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [interface, directory] => (interface, directory, false),
        [interface, directory, "generic"] => (interface, directory, true),
        _ => {
            eprintln!("usage: provide INTERFACE DIRECTORY [generic]");
            return ExitCode::from(2);
        }
    };
    match pmd_af_xdp::provide(interface, Path::new(directory), generic) {
        Ok(map) => {
            println!("the map of sockets of {interface} is {}", map.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
