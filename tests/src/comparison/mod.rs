//! Our program and dpdk-testpmd at the same work on the same cores, in pairs: what `make bench` does.
//!
//! ```text
//!   machine      what this machine is, which CPUs are taken, what spoils numbers on it
//!   cases        the rows: works, who has zero-copy, the goals          limits     how near to what the memory can do
//!   processes    a work as processes: `lport run` and testpmd, pinned   probe      how fast the CPUs are, how far apart
//!   measuring    one measurement: thaw, read, read again, freeze        disturbance   who else used the CPUs
//!   contest      what is compared, measured in turns: pairs             rule       which of them count
//!   ends         what the ends of a chain leave to a forwarder: its bound
//!   latency, idle   the other sections      tester: `lport bench`      reflector: sends back what comes
//!   budget       how long each may take                                 statistics medians, quartiles, chance
//!   results      everything measured, as raw JSON                       table, sections, chart  for people
//! ```
//!
//! 1. [`cases::Case::all`] gives the rows. Each is a [`contest::Contest`]; so are the questions of [`limits`].
//! 2. [`contest::Contest::hold`] holds one in a round: its processes stand ready, frozen, and are measured in turns, one directly
//!    after the other, so that whatever the machine does, it does it to both. What goes wrong with it is kept, and does not touch
//!    the others.
//! 3. [`latency::measure`] and [`idle::measure`] are sections of their own, with data of their own. Latencies are measured in
//!    pairs as well, by the same rule.
//! 4. [`results::Results`] holds all of them; [`table`] and [`chart`] show what they come to.

pub mod budget;
pub mod cases;
pub mod chart;
pub mod contest;
pub mod disturbance;
pub mod ends;
pub mod idle;
pub mod latency;
pub mod limits;
pub mod machine;
pub mod measuring;
pub mod probe;
pub mod processes;
mod reflector;
pub mod results;
pub mod rule;
mod sections;
pub mod statistics;
pub mod table;
pub mod tester;
