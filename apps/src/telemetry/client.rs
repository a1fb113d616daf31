//! The asking end of telemetry: one connection, one question at a time.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockFlag, UnixAddr, connect, recv, send};
use serde_json::Value;

use super::listener::new_socket;
use super::place::{self, FilePrefix};
use crate::failure::Failure;

/// Longest time an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that a greeting has at most, as all clients know it.
const GREETING_MAX: usize = 1024;

/// A connection to a process that serves telemetry.
pub(crate) struct Client {
    socket: UnixStream,
    path: PathBuf,
    answer_max: usize,
}

impl Client {
    /// Connects to process number `instance` with this prefix.
    ///
    /// # Errors
    /// When none runs there; the message says how to start one, or how to find it.
    pub(crate) fn connect(prefix: &FilePrefix, instance: u16) -> Result<Self, Failure> {
        let path = place::socket(&prefix.directory(), instance);
        Self::connect_to(&path)?.ok_or_else(|| nobody(&path, prefix, instance))
    }

    /// Connects to the socket at `path`; `None` when nobody listens there.
    ///
    /// # Errors
    /// When it cannot be connected to for any other reason.
    pub(crate) fn connect_to(path: &Path) -> Result<Option<Self>, Failure> {
        let socket = new_socket(SockFlag::empty())?;
        match UnixAddr::new(path).and_then(|address| connect(socket.as_raw_fd(), &address)) {
            Ok(()) => Self::greeted(UnixStream::from(socket), path.to_owned()).map(Some),
            Err(Errno::ENOENT | Errno::ECONNREFUSED) => Ok(None),
            Err(errno) => Err(Failure::Running(format!("cannot connect to {}: {errno}", path.display()))),
        }
    }

    /// Takes over a connection, whose first message is the greeting.
    fn greeted(socket: UnixStream, path: PathBuf) -> Result<Self, Failure> {
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut client = Self { socket, path, answer_max: GREETING_MAX };
        let greeting = client.receive()?;
        let size = greeting["max_output_len"].as_u64().and_then(|size| usize::try_from(size).ok());
        client.answer_max = size.ok_or_else(|| client.unexpected(&greeting))?.clamp(GREETING_MAX, 16 << 20);
        Ok(client)
    }

    /// Asks `command`, with parameters behind a comma if it takes any, and gives what stands behind its name.
    ///
    /// # Errors
    /// When the process is gone, or refuses.
    pub(crate) fn ask(&self, request: &str) -> Result<Value, Failure> {
        let sent = send(self.socket.as_raw_fd(), request.as_bytes(), MsgFlags::MSG_NOSIGNAL);
        sent.map_err(|errno| self.gone(&errno.into()))?;
        let mut answer = self.receive()?;
        let command = request.split(',').next().unwrap_or_default();
        let value = answer.get_mut(command).map(Value::take).unwrap_or_default();
        match &value {
            Value::Null => Err(Failure::Running(format!(
                "{} does not answer `{request}`: it may belong to another program",
                self.path.display()
            ))),
            Value::Object(fields) if fields.len() == 1 && fields.contains_key("error") => {
                Err(Failure::Running(format!("{}: {}", self.path.display(), fields["error"])))
            }
            _ => Ok(value),
        }
    }

    fn receive(&self) -> Result<Value, Failure> {
        let mut buffer = vec![0; self.answer_max];
        let length =
            recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).map_err(|errno| self.gone(&errno.into()))?;
        if length == 0 {
            return Err(self.gone(&io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_slice(&buffer[..length])
            .map_err(|_| self.unexpected(&String::from_utf8_lossy(&buffer[..length])))
    }

    fn gone(&self, error: &io::Error) -> Failure {
        let why = match error.kind() {
            io::ErrorKind::WouldBlock => format!("it said nothing for {} s", PATIENCE.as_secs()),
            io::ErrorKind::UnexpectedEof => "it ended, or serves as many clients as it can".to_owned(),
            _ => error.to_string(),
        };
        Failure::Running(format!("lost {}: {why}", self.path.display()))
    }

    fn unexpected(&self, answer: &dyn std::fmt::Display) -> Failure {
        Failure::Running(format!("{} answered something unexpected: {answer}", self.path.display()))
    }
}

fn nobody(path: &Path, prefix: &FilePrefix, instance: u16) -> Failure {
    let way_out = match instance {
        0 => "start `lport run FILE`, or name its `--file-prefix`",
        _ => "leave `--instance` out for the first one",
    };
    Failure::Running(format!(
        "nothing runs with file prefix `{prefix}` as instance {instance} (no telemetry on {}): {way_out}",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use nix::sys::socket::{AddressFamily, SockType, socketpair};

    use super::*;

    /// What a client says that is greeted and answered with these, then left.
    fn answered(greeting: &str, answer: &str) -> Result<Value, String> {
        let (ours, theirs): (OwnedFd, OwnedFd) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
        for text in [greeting, answer] {
            send(theirs.as_raw_fd(), text.as_bytes(), MsgFlags::empty()).unwrap();
        }
        nix::sys::socket::shutdown(theirs.as_raw_fd(), nix::sys::socket::Shutdown::Write).unwrap();
        let client = Client::greeted(ours.into(), "/there".into());
        client.and_then(|client| client.ask("/lport/list,x")).map_err(|failure| failure.to_string())
    }

    #[test]
    fn whatever_stands_behind_the_socket_is_told_apart() {
        let dpdk = r#"{"version":"DPDK 22.11.11","pid":1,"max_output_len":16384}"#;
        assert_eq!(answered(dpdk, r#"{"/lport/list":["a:0"]}"#), Ok(serde_json::json!(["a:0"])));
        let refused = |greeting, answer| answered(greeting, answer).unwrap_err();
        assert!(refused(dpdk, r#"{"/lport/list":null}"#).contains("/there does not answer `/lport/list,x`"));
        assert!(refused(dpdk, r#"{"/lport/list":{"error":"no such lport"}}"#).contains("no such lport"));
        assert!(refused(dpdk, "[").contains("something unexpected: ["));
        assert!(refused(dpdk, "7").contains("does not answer"));
        assert!(refused(dpdk, "").contains("lost /there: it ended"));
        assert!(refused("{}", "").contains("something unexpected: {}"));
        assert!(refused("", "").contains("lost /there"));
    }
}
