//! Our program and dpdk-testpmd at the same work on the same cores, interleaved: what `make bench` does.
//!
//! ```text
//!   machine      what this machine is, which CPUs are taken, what spoils numbers on it
//!   cases        the rows: works, who has zero-copy, the goals          limits     how near to what the memory can do
//!   processes    a work as processes: `lport run` and testpmd, pinned   disturbance  who else used the CPUs, the rule
//!   measuring    one measurement: start, warm up, read, read again; again when disturbed      probe: how fast CPUs are
//!   latency, idle   the other sections      tester: `lport bench`      reflector: sends back what comes
//!   budget       how long each may take                                 statistics   medians, spreads
//!   results      everything measured, as raw JSON                       table, sections, chart  for people
//! ```
//!
//! 1. [`cases::Case::all`] gives the rows, [`measuring::subjects`] what has to be measured for them: each subject once a round,
//!    ours and testpmd's next to each other, so that whatever disturbs the machine disturbs both.
//! 2. [`measuring::measure`] measures one subject. What goes wrong with it is kept, and does not touch the others.
//! 3. [`results::Results`] grows by each; [`table`] and [`chart`] show it.

pub mod budget;
pub mod cases;
pub mod chart;
pub mod disturbance;
pub mod idle;
pub mod latency;
pub mod limits;
pub mod machine;
pub mod measuring;
pub mod probe;
pub mod processes;
mod reflector;
pub mod results;
mod sections;
pub mod statistics;
pub mod table;
pub mod tester;
