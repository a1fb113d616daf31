//! Links to a process that is not ours (`--attach`): a forwarder that the user has started, of whatever kind.
//!
//! ```text
//!   --attach X               [a] <══> somebody who sends everything back           round-trip
//!   --attach X --attach Y    [a] ══> somebody who forwards ══> [b]                 chain
//! ```
//!
//! Nothing is known of it: what comes back is counted at our own lports, and only our own thread is watched. The two may be
//! started in either order, so its links are waited for as long as the user says (`--wait`).

use std::path::Path;

use serde_json::Map;

use super::args::{Cases, Setup};
use super::arrangement::{Arrangement, Builder, Work, arrange, choose_cores, works};
use super::frames::FrameSize;
use super::progress::Progress;
use crate::failure::Failure;

/// The names of our lports, without their queues.
const NAMES: [&str; 2] = ["a", "b"];

impl Cases {
    /// The works to be measured, each with its CPUs: what attached links make, or else those that `usual` gives.
    ///
    /// # Errors
    /// When more than two links are attached, there are too few CPUs, or the driver cannot do what is asked.
    pub(super) fn works(
        &self,
        setup: &Setup,
        usual: impl FnOnce() -> Result<Vec<Work>, Failure>,
    ) -> Result<Vec<(Work, Vec<usize>)>, Failure> {
        let work = match self.attach.len() {
            0 => return works(setup, &usual()?),
            1 => Work::RoundTrip,
            2 => Work::Chain,
            more => {
                let message =
                    format!("`--attach` was given {more} times; once sends and receives, a second time receives");
                return Err(Failure::Configuration(message));
            }
        };
        Ok(vec![(work, choose_cores(setup, "the tester", 1)?)])
    }

    /// The processes of one of these works; `directory` is where sockets of ours go.
    pub(super) fn arrange(
        &self,
        setup: &Setup,
        work: Work,
        size: FrameSize,
        cores: &[usize],
        directory: &Path,
    ) -> Arrangement {
        if self.attach.is_empty() {
            return arrange(setup, work, size, cores, directory);
        }
        let builder = Builder { setup, size, directory };
        let ends = NAMES.iter().zip(&self.attach);
        let lports = ends.flat_map(|(name, end)| builder.lports(name, end.driver(), &end.options(setup.rings, size)));
        let own = builder.file(&lports.collect::<Map<_, _>>(), cores, "drop");
        let to = (0..setup.queues).map(|queue| format!("{}:{queue}", NAMES[0])).collect();
        Arrangement { work, size, own, to, other: None, patience: self.wait, cores: cores.to_vec() }
    }

    /// Says who is waited for, if it is not a process of ours.
    pub(super) fn announce(&self, progress: &Progress) {
        if !self.attach.is_empty() {
            let ends: Vec<_> = self.attach.iter().map(|end| end.driver().to_string()).collect();
            progress.show(&format!("waiting for the other end of {}", ends.join(" and ")));
        }
    }
}
