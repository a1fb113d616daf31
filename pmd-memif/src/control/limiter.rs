//! Keeps a peer from filling the log.

use std::time::{Duration, Instant};

/// Lets the same message through once per [`Limiter::WINDOW`].
#[derive(Debug, Default)]
pub(super) struct Limiter {
    /// Recent messages and when each was let through.
    recent: Vec<(String, Instant)>,
}

impl Limiter {
    const WINDOW: Duration = Duration::from_secs(5);
    /// Different messages per window: a peer chooses what it is refused for, and may vary it.
    const MESSAGES: usize = 16;

    /// Whether this message should be shown now.
    pub(super) fn allows(&mut self, message: &str, now: Instant) -> bool {
        self.recent.retain(|(_, shown)| now.duration_since(*shown) < Self::WINDOW);
        if self.recent.len() >= Self::MESSAGES || self.recent.iter().any(|(seen, _)| seen == message) {
            return false;
        }
        self.recent.push((message.to_owned(), now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_message_is_shown_once_per_window() {
        let (mut limiter, start) = (Limiter::default(), Instant::now());
        assert!(limiter.allows("a", start));
        assert!(!limiter.allows("a", start + Duration::from_secs(4)));
        assert!(limiter.allows("b", start + Duration::from_secs(4)));
        assert!(limiter.allows("a", start + Duration::from_secs(5)));
    }

    #[test]
    fn varying_messages_are_bounded_too() {
        let (mut limiter, start) = (Limiter::default(), Instant::now());
        let shown = (0..1000).filter(|i| limiter.allows(&i.to_string(), start)).count();
        assert_eq!(shown, Limiter::MESSAGES);
    }
}
