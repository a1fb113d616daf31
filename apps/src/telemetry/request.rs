//! A request as it comes, and its answer as it goes: one datagram each.
//!
//! A request is `command` or `command,parameters`, split at the first comma. The answer is an object with one key, the
//! command. To a request that DPDK would not understand the value is null, for whatever reason; our own commands say in
//! `error` what is wrong.

use serde_json::{Map, Value, json};

use super::ANSWER_MAX;

/// Bytes of the longest request, as DPDK's clients know it.
pub(super) const REQUEST_MAX: usize = 1024;

/// Characters of an unknown command that are repeated in its answer, as DPDK does it.
const ECHO_MAX: usize = 56;

/// What a command answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// What was asked for.
    Value(Value),
    /// DPDK's way to say no.
    Null,
    /// Our way: what is wrong, and what would be right.
    Error(String),
}

/// A request, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request<'a> {
    pub(super) command: &'a str,
    pub(super) parameters: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// Takes the text of a datagram apart.
    pub(super) fn new(text: &'a str) -> Self {
        match text.split_once(',') {
            Some((command, parameters)) => Self { command, parameters: Some(parameters) },
            None => Self { command: text, parameters: None },
        }
    }

    /// The answer to a request of more than [`REQUEST_MAX`] bytes.
    pub(super) fn too_long(&self) -> Answer {
        refusal(self.command, || format!("the request has more than {REQUEST_MAX} bytes: ask for less at once"))
    }

    /// The datagram that answers it. One that would be larger than announced becomes an error instead of being cut.
    pub(super) fn reply(&self, answer: Answer) -> Vec<u8> {
        let reply = self.encode(answer);
        if reply.len() <= ANSWER_MAX {
            return reply;
        }
        let text = || format!("the answer has {} bytes, but {ANSWER_MAX} is the limit: ask for less", reply.len());
        self.encode(refusal(self.command, text))
    }

    fn encode(&self, answer: Answer) -> Vec<u8> {
        let value = match answer {
            Answer::Value(value) => value,
            Answer::Null => Value::Null,
            Answer::Error(text) => json!({ "error": text }),
        };
        let command: String = self.command.chars().take(ECHO_MAX).collect();
        Value::Object(Map::from_iter([(command, value)])).to_string().into_bytes()
    }
}

/// How a command says no: DPDK's with null, ours with the reason.
fn refusal(command: &str, reason: impl FnOnce() -> String) -> Answer {
    if super::commands::is_ours(command) { Answer::Error(reason()) } else { Answer::Null }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str, answer: Answer) -> String {
        String::from_utf8(Request::new(text).reply(answer)).unwrap()
    }

    #[test]
    fn a_request_is_split_at_the_first_comma() {
        let request = Request::new("/lport/info,a,b");
        assert_eq!((request.command, request.parameters), ("/lport/info", Some("a,b")));
        assert_eq!(Request::new("/info").parameters, None);
        assert_eq!(Request::new("/info,").parameters, Some(""));
    }

    #[test]
    fn an_answer_is_an_object_with_the_command_as_its_key() {
        assert_eq!(reply("/ethdev/list", Answer::Value(json!([0, 1]))), r#"{"/ethdev/list":[0,1]}"#);
        assert_eq!(reply("/ethdev/stats,7", Answer::Null), r#"{"/ethdev/stats":null}"#);
        assert_eq!(reply("/lport/info", Answer::Error("no".into())), r#"{"/lport/info":{"error":"no"}}"#);
        assert_eq!(reply("a\"\n", Answer::Null), r#"{"a\"\n":null}"#);
        assert_eq!(reply(&"é".repeat(500), Answer::Null), format!("{{\"{}\":null}}", "é".repeat(56)));
    }

    #[test]
    fn an_answer_that_is_too_large_is_refused_whole() {
        let large = || Answer::Value(Value::String("x".repeat(ANSWER_MAX)));
        assert_eq!(reply("/mempool/list", large()), r#"{"/mempool/list":null}"#);
        let ours = reply("/lport/list", large());
        assert!(ours.contains("131090 bytes, but 131072 is the limit"), "{ours}");
    }
}
