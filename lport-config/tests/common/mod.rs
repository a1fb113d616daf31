//! A program's drivers, as the tests of this crate imagine them.

use lport_config::DriverCheck;
use pmd_core::QueueCount;
use pmd_core::deployment::DeviceSpec;
use pmd_core::options::{OptionError, OptionKind, OptionSpec, Options};

/// Drivers with every kind of option, and rules between options.
pub(crate) struct TestDrivers;

const MEMIF: &[OptionSpec] = &[
    OptionSpec { name: "role", kind: OptionKind::Choice(&["client", "server"]), default: "client", help: "Role." },
    OptionSpec { name: "id", kind: OptionKind::Int { min: 0, max: 65535 }, default: "0", help: "Interface." },
    OptionSpec { name: "socket", kind: OptionKind::Text { max_len: 107 }, default: "/run/memif.sock", help: "Socket." },
    OptionSpec { name: "rsize", kind: OptionKind::Int { min: 1, max: 14 }, default: "10", help: "log2 of the ring." },
    OptionSpec { name: "secret", kind: OptionKind::Text { max_len: 24 }, default: "", help: "Secret." },
    OptionSpec { name: "mac", kind: OptionKind::Mac, default: "", help: "Address." },
    OptionSpec { name: "zero-copy", kind: OptionKind::Bool, default: "no", help: "Share buffers." },
];

const MEMIF_SOCKET: &[OptionSpec] = &[
    OptionSpec { name: "client", kind: OptionKind::Text { max_len: 0 }, default: "", help: "Connect." },
    OptionSpec { name: "server", kind: OptionKind::Text { max_len: 0 }, default: "", help: "Listen." },
];

impl DriverCheck for TestDrivers {
    fn driver_names(&self) -> Vec<String> {
        let names = ["net_null", "net_ring", "net_memif", "net_memif_socket", "net_af_packet"];
        names.map(str::to_owned).to_vec()
    }

    fn options(&self, driver: &str) -> Vec<OptionSpec> {
        match driver {
            "net_memif" => MEMIF.to_vec(),
            "net_memif_socket" => MEMIF_SOCKET.to_vec(),
            _ => Vec::new(),
        }
    }

    fn needs_umem(&self, driver: &str) -> bool {
        driver != "net_ring"
    }

    fn check(&self, device: &DeviceSpec) -> Vec<OptionError> {
        let options = match Options::check(&self.options(&device.driver), &device.options) {
            Ok(options) => options,
            Err(errors) => return errors,
        };
        let client = device.driver == "net_memif" && options.text("role") == "client";
        let mut errors = Vec::new();
        if options.bool("zero-copy") && !client {
            errors.push(OptionError::value(
                "zero-copy",
                "option `zero-copy` is yes, but only a client can share buffers",
            ));
        }
        if device.driver == "net_memif_socket" && device.options.is_empty() {
            errors.push(OptionError::value("server", "`net_memif_socket` needs `client` or `server`"));
        }
        errors
    }

    /// Servers have their id on their socket for themselves.
    fn claim(&self, device: &DeviceSpec) -> Option<String> {
        let options = Options::check(&self.options(&device.driver), &device.options).ok()?;
        let server = device.driver == "net_memif" && options.text("role") == "server";
        server.then(|| format!("memif id {} on {}", options.int("id").unwrap_or(0), options.text("socket")))
    }

    /// Devices called `ethN` are there, with four queues; those called `vethN` can have any number.
    fn queue_count(&self, device: &DeviceSpec) -> QueueCount {
        match &*device.name {
            name if name.starts_with("eth") => QueueCount::Has(4),
            name if name.starts_with("veth") => QueueCount::AsTold,
            name => QueueCount::Unknown(format!("there is no interface `{name}`")),
        }
    }
}
