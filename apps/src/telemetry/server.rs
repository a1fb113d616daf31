//! The thread that serves: it waits for the listener, the clients and its end, all in one poll.
//!
//! 1. A client is greeted as soon as it is accepted. At most [`CLIENTS_MAX`] are served; who comes then is turned away.
//! 2. A client's request is answered before its next one is read. An answer that does not fit into its socket waits there
//!    until the client reads on; meanwhile it is not heard.
//! 3. Whatever a client does wrong, the worst that happens is the end of its own connection.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use nix::sys::socket::{MsgFlags, recv, send};

use super::commands::{self, Running};
use super::listener::Listener;
use super::request::{REQUEST_MAX, Request};

/// Clients at a time.
const CLIENTS_MAX: usize = 32;

/// How long the listener rests when the process has no file descriptors left.
const REST: Duration = Duration::from_millis(100);

struct Client {
    socket: UnixStream,
    /// An answer that its socket had no room for.
    waiting: Option<Vec<u8>>,
}

/// Whether a client is to be kept.
type Kept = io::Result<()>;

/// Serves until `stop` is signalled.
pub(super) fn serve(listener: &Listener, stop: &EventFd, running: &Running<'_>) {
    let mut clients = Vec::new();
    loop {
        let ready = match wait(listener, stop, &clients) {
            Ok(ready) => ready,
            Err(error) => return tracing::warn!("telemetry ends: {error}"),
        };
        if ready.stop {
            return;
        }
        let mut is_ready = ready.clients.into_iter();
        clients.retain_mut(|client: &mut Client| !is_ready.next().unwrap_or(false) || client.turn(running).is_ok());
        if ready.listener {
            welcome(listener, &mut clients);
        }
    }
}

/// What poll found.
struct Ready {
    stop: bool,
    listener: bool,
    clients: Vec<bool>,
}

fn wait(listener: &Listener, stop: &EventFd, clients: &[Client]) -> io::Result<Ready> {
    let own = [PollFd::new(stop.as_fd(), PollFlags::POLLIN), PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let of_clients = clients.iter().map(|client| PollFd::new(client.socket.as_fd(), client.interest()));
    let mut fds: Vec<_> = own.into_iter().chain(of_clients).collect();
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    // Errors and hang-ups count as ready: the next read or write tells.
    let mut ready = fds.iter().map(|fd| fd.revents().is_some_and(|events| !events.is_empty()));
    let mut next = || ready.next().unwrap_or(false);
    Ok(Ready { stop: next(), listener: next(), clients: ready.collect() })
}

fn welcome(listener: &Listener, clients: &mut Vec<Client>) {
    loop {
        match listener.accept() {
            Ok(socket) => {
                let mut client = Client { socket, waiting: None };
                if clients.len() < CLIENTS_MAX && client.answer(commands::greeting()).is_ok() {
                    clients.push(client);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            // Out of file descriptors, most likely: poll would report the listener at once, again and again.
            Err(_) => return std::thread::sleep(REST),
        }
    }
}

impl Client {
    fn interest(&self) -> PollFlags {
        if self.waiting.is_some() { PollFlags::POLLOUT } else { PollFlags::POLLIN }
    }

    /// Goes on with what poll found possible.
    fn turn(&mut self, running: &Running<'_>) -> Kept {
        if let Some(answer) = self.waiting.take() {
            return self.answer(answer);
        }
        // One byte more than may be, to tell the longest request from one that is longer.
        let mut buffer = [0; REQUEST_MAX + 1];
        match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => self.answer(reply(&buffer[..length], running)),
            Err(errno) => still_there(errno.into()),
        }
    }

    fn answer(&mut self, answer: Vec<u8>) -> Kept {
        match send(self.socket.as_raw_fd(), &answer, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(nix::errno::Errno::EAGAIN) => {
                self.waiting = Some(answer);
                Ok(())
            }
            Err(errno) => still_there(errno.into()),
        }
    }
}

fn still_there(error: io::Error) -> Kept {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(()),
        _ => Err(error),
    }
}

/// The answer to one datagram, whatever is in it.
fn reply(datagram: &[u8], running: &Running<'_>) -> Vec<u8> {
    let text = String::from_utf8_lossy(datagram);
    let request = Request::new(&text);
    let answer = if datagram.len() > REQUEST_MAX { request.too_long() } else { commands::answer(&request, running) };
    request.reply(answer)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::path::Path;

    use nix::sys::eventfd::EfdFlags;
    use nix::sys::socket::{SockFlag, UnixAddr, connect};
    use pmd_core::{Deployment, Registry, Runtime, Settings};
    use serde_json::Value;

    use super::super::listener::new_socket;
    use super::*;
    use crate::modes::{Mode, ModeDrops};

    /// Serves an empty deployment while `work` runs with the socket's path.
    fn served(work: impl FnOnce(&Path)) {
        let directory = tempfile::tempdir().unwrap();
        let listener = Listener::bind_in(directory.path()).unwrap();
        let stop = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        let (deployment, registry) = (Deployment::default(), Registry::default());
        let never = |_: &pmd_core::TaskContext<'_>| unreachable!("there is no thread");
        let runtime = Runtime::start(&deployment, &registry, Settings::default(), never).unwrap();
        let drops = ModeDrops::new(Mode::Drop, 0);
        let running = Running::new(&runtime, &deployment, &drops);
        std::thread::scope(|scope| {
            let server = scope.spawn(|| serve(&listener, &stop, &running));
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(listener.path())));
            stop.write(1).unwrap();
            server.join().expect("no client can make the server panic");
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    }

    fn dial(path: &Path) -> UnixStream {
        let socket = new_socket(SockFlag::empty()).unwrap();
        connect(socket.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
        let socket = UnixStream::from(socket);
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        socket
    }

    fn receive(mut socket: &UnixStream) -> Value {
        let mut buffer = vec![0; super::super::ANSWER_MAX];
        let length = socket.read(&mut buffer).expect("an answer in time");
        serde_json::from_slice(&buffer[..length]).unwrap_or(Value::Null)
    }

    fn greeted(path: &Path) -> UnixStream {
        let socket = dial(path);
        assert_eq!(receive(&socket)["pid"], std::process::id());
        socket
    }

    fn ask(mut socket: &UnixStream, request: &[u8]) -> Value {
        socket.write_all(request).unwrap();
        receive(socket)
    }

    #[test]
    fn broken_and_oversized_requests_are_answered_like_any_other() {
        served(|path| {
            let client = greeted(path);
            assert_eq!(ask(&client, b"/ethdev/list"), serde_json::json!({ "/ethdev/list": [] }));
            for bad in [&b"\xff\xfe,\0"[..], b",", b"\0", b"/\n", &[b','; REQUEST_MAX], &[b'/'; 100_000]] {
                let answer = ask(&client, bad);
                assert!(answer.as_object().unwrap().values().all(Value::is_null), "{answer}");
            }
            let name = |length: usize| [&b"/lport/info,"[..], &vec![b'x'; length - 12]].concat();
            let longest = ask(&client, &name(REQUEST_MAX))["/lport/info"]["error"].to_string();
            assert!(longest.contains("there is no lport `xxx"), "{longest}");
            let longer = ask(&client, &name(REQUEST_MAX + 1))["/lport/info"]["error"].to_string();
            assert!(longer.contains("more than 1024 bytes"), "{longer}");
        });
    }

    #[test]
    fn clients_come_and_go_and_only_so_many_are_served() {
        served(|path| {
            let mut clients: Vec<_> = (0..CLIENTS_MAX).map(|_| greeted(path)).collect();
            assert_eq!(receive(&dial(path)), Value::Null, "one too many is turned away without a word");
            assert_eq!(ask(&clients[0], b"/ethdev/list")["/ethdev/list"], serde_json::json!([]));
            clients.truncate(1);
            // The server sees the ends before it accepts the next, or shortly after.
            let end = std::time::Instant::now() + Duration::from_secs(60);
            while receive(&dial(path)).is_null() {
                assert!(std::time::Instant::now() < end, "places of clients that went are not given to others");
            }
        });
    }

    #[test]
    fn a_client_that_does_not_read_delays_nobody_and_gets_every_answer_in_the_end() {
        served(|path| {
            let (mut idle, other) = (greeted(path), greeted(path));
            idle.set_nonblocking(true).unwrap();
            let mut asked = 0;
            // Until neither its own socket nor the server's takes any more.
            while idle.write(b"/").is_ok() {
                asked += 1;
            }
            assert_eq!(ask(&other, b"/ethdev/list")["/ethdev/list"], serde_json::json!([]));
            idle.set_nonblocking(false).unwrap();
            for _ in 0..asked {
                assert!(receive(&idle)["/"].is_array());
            }
        });
    }
}
