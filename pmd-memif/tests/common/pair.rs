//! Both ends of a link, ours.

use crate::common::{Port, until};

/// Waits until both ends of a link are up.
pub(crate) fn wait_for_links(ports: [&Port; 2]) {
    until("links up", || ports.iter().all(|port| port.lports[0].control.link().is_up()));
}

/// A server and a client of ours at a socket file of their own, joined. The directory goes with the test.
pub(crate) fn pair(
    queues: [u16; 2],
    server: &[(&str, &str)],
    client: &[(&str, &str)],
) -> (Port, Port, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("memif.sock");
    let common: &[_] = &[("socket", socket.to_str().unwrap()), ("socket-abstract", "no")];
    let server = Port::open("server", queues[0], &[common, &[("role", "server")], server].concat()).unwrap();
    let client = Port::open("client", queues[1], &[common, client].concat()).unwrap();
    wait_for_links([&server, &client]);
    (server, client, dir)
}
