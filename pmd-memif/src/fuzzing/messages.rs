//! Any datagram: what decodes means the same when it is encoded again, and can be shown.

use super::Input;
use crate::message::{Message, SIZE};

/// Decodes the bytes as one message. `true` when they are one.
pub fn messages(bytes: &[u8]) -> bool {
    let Ok(message) = Message::decode(&Input(bytes).array()) else { return false };
    assert!(message.encoded_len() <= SIZE);
    assert_eq!(Message::decode(&message.encode()), Ok(message.clone()));
    assert!(!format!("{message:?}").contains(char::is_control));
    true
}
