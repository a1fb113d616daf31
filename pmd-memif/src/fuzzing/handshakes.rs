//! Sequences of messages through both machines.
//!
//! A message is a byte for its length and as many bytes, padded with zeros. For a server a byte stands before it that says
//! what is attached.

use super::Input;
use crate::handshake::FileKind;
use crate::handshake::driven::{drive_client, drive_server};
use crate::message::Message;

/// What a client may attach; the first is what a correct one does.
const ATTACHED: [Option<Option<FileKind>>; 6] = [
    None,
    Some(None),
    Some(Some(FileKind::Memory { shrink_sealed: true })),
    Some(Some(FileKind::Memory { shrink_sealed: false })),
    Some(Some(FileKind::Event)),
    Some(Some(FileKind::Other)),
];

/// Any sequence of messages to a server. `true` when the link came up.
pub fn server_handshake(bytes: &[u8]) -> bool {
    let mut input = Input(bytes);
    drive_server(std::iter::from_fn(|| {
        let attached = ATTACHED[usize::from(input.byte()) % ATTACHED.len()];
        Some((next_message(&mut input)?, false, attached))
    }))
}

/// Any sequence of messages to a client. `true` when the link came up.
pub fn client_handshake(bytes: &[u8]) -> bool {
    let mut input = Input(bytes);
    drive_client(std::iter::from_fn(|| next_message(&mut input)))
}

/// The next message; the end, or what is none, ends the sequence.
fn next_message(input: &mut Input<'_>) -> Option<Message> {
    if input.is_empty() {
        return None;
    }
    let length = input.byte();
    Message::decode(&Input(input.slice(length.into())).array()).ok()
}
