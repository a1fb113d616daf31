//! The task that offers packets, and receives what comes back: one thread of our own process.
//!
//! 1. Between trials it receives and drops.
//! 2. An [`Order`] begins a trial: so many packets per second by a [`Schedule`], or as many as the lports take. What is due
//!    and not accepted by the lport is lost then and there, as on a wire; without a rate it is kept and sent again.
//! 3. When all are sent, or the time is over, it waits for packets that are still on their way, and answers a [`Tally`].
//!
//! A paced round reads the clock once, and once more when packets for the histogram have come. The longest time between
//! two rounds says whether the generator itself was kept from running.

use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use pmd_core::{Burst, LportId, Ports, Task};

use super::frames::{Frames, number_of};
use super::histogram::Histogram;
use super::schedule::Schedule;

/// Rounds between two looks at the clock when there is no schedule.
const UNPACED_ROUNDS: u32 = 16;

/// How long nothing comes back until nothing more is expected.
const QUIET: Duration = Duration::from_millis(20);

/// Longest wait for what is on its way.
const DRAIN: Duration = Duration::from_millis(500);

/// How long beyond a trial's end a generator may send what was due, besides a thousandth of its length.
const CATCH_UP: Duration = Duration::from_micros(100);

/// Packets of all trials are told apart by the upper bits of their numbers.
const TRIAL_SHIFT: u32 = 48;

/// A trial to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    /// Packets per second; `None`: as many as the lports take.
    pub(super) rate: Option<f64>,
    pub(super) duration: Duration,
    /// One packet in so many gets into the histogram; 0: none.
    pub(super) record_every: u64,
}

/// What became of a trial.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Packets whose moment came.
    pub(super) intended: u64,
    /// Packets that lports accepted.
    pub(super) sent: u64,
    /// Packets that lports did not accept in their moment.
    pub(super) rejected: u64,
    /// Packets that came back.
    pub(super) received: u64,
    /// How long it was sent.
    pub(super) sending: Duration,
    /// The longest time between two rounds.
    pub(super) longest_gap: Duration,
    /// Latencies of those that came back.
    pub(super) latencies: Histogram,
}

/// The task.
pub(super) struct Tester {
    /// Where packets are sent, in turn.
    to: Vec<LportId>,
    /// Whether packets come back to us.
    returns: bool,
    frames: Frames,
    burst_size: usize,
    out: Burst,
    incoming: Burst,
    orders: Receiver<Order>,
    tallies: Sender<Tally>,
    trials: u64,
    turn: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting,
    Sending(Trial),
    Draining { trial: Trial, last: Instant, since: Instant },
}

/// A trial under way.
#[derive(Debug)]
struct Trial {
    number: u64,
    record_every: u64,
    start: Instant,
    end: Instant,
    schedule: Option<Schedule>,
    last_round: Instant,
    rounds: u32,
    tally: Tally,
}

impl Tester {
    pub(super) fn new(
        to: Vec<LportId>,
        returns: bool,
        frames: Frames,
        burst_size: usize,
        orders: Receiver<Order>,
        tallies: Sender<Tally>,
    ) -> Self {
        let (out, incoming) = (Burst::with_limit(burst_size), Burst::with_limit(burst_size));
        let state = State::Waiting;
        Self { to, returns, frames, burst_size, out, incoming, orders, tallies, trials: 0, turn: 0, state }
    }

    fn begin(&mut self, order: Order) {
        let start = Instant::now();
        self.trials += 1;
        self.frames.restart();
        let schedule = order.rate.map(|rate| Schedule::new(start, rate, order.duration));
        // A generator that fell behind may catch up for a moment. More would let it offer less than was asked.
        let grace = if schedule.is_some() { order.duration / 1000 + CATCH_UP } else { Duration::ZERO };
        self.state = State::Sending(Trial {
            number: self.trials,
            record_every: order.record_every,
            start,
            end: start + order.duration + grace,
            schedule,
            last_round: start,
            rounds: 0,
            tally: Tally::default(),
        });
    }

    /// One round of sending; `true` when the trial's packets are out or its time is over.
    fn send(&mut self, ports: &mut Ports, trial: &mut Trial) -> bool {
        match trial.schedule {
            Some(schedule) => self.send_due(ports, trial, &schedule),
            None => self.send_all(ports, trial),
        }
    }

    fn send_due(&mut self, ports: &mut Ports, trial: &mut Trial, schedule: &Schedule) -> bool {
        let now = Instant::now();
        trial.tally.longest_gap = trial.tally.longest_gap.max(now - trial.last_round);
        trial.last_round = now;
        let next = trial.tally.sent + trial.tally.rejected;
        let wanted = (schedule.due(now) - next).min(self.burst_size as u64) as usize;
        if wanted > 0 {
            let built = self.build(ports, wanted, trial.number << TRIAL_SHIFT | next);
            let accepted = self.transmit(ports);
            trial.tally.sent += accepted as u64;
            trial.tally.rejected += (built - accepted) as u64;
            self.out.clear();
        }
        let over = trial.tally.sent + trial.tally.rejected == schedule.total() || now >= trial.end;
        if over {
            trial.tally.intended = schedule.total();
            trial.tally.sending = now - trial.start;
        }
        over
    }

    fn send_all(&mut self, ports: &mut Ports, trial: &mut Trial) -> bool {
        if self.out.is_empty() {
            let first = trial.number << TRIAL_SHIFT | trial.tally.sent;
            self.build(ports, self.burst_size, first);
        }
        trial.tally.sent += self.transmit(ports) as u64;
        trial.rounds += 1;
        if !trial.rounds.is_multiple_of(UNPACED_ROUNDS) {
            return false;
        }
        let now = Instant::now();
        trial.tally.longest_gap = trial.tally.longest_gap.max(now - trial.last_round);
        trial.last_round = now;
        let over = now >= trial.end;
        if over {
            self.out.clear();
            trial.tally.intended = trial.tally.sent;
            trial.tally.sending = now - trial.start;
        }
        over
    }

    /// Builds packets for the lport whose turn it is.
    fn build(&mut self, ports: &mut Ports, wanted: usize, first: u64) -> usize {
        self.turn = if self.turn + 1 >= self.to.len() { 0 } else { self.turn + 1 };
        self.frames.build_for(ports, self.to[self.turn], &mut self.out, wanted, first)
    }

    fn transmit(&mut self, ports: &mut Ports) -> usize {
        if self.out.is_empty() { 0 } else { ports.tx_burst(self.to[self.turn], &mut self.out) }
    }

    /// Receives from all lports; for the histogram of `trial`, if there is one.
    fn receive(&mut self, ports: &mut Ports, mut trial: Option<&mut Trial>) -> usize {
        let mut received = 0;
        while ports.rx_next(&mut self.incoming).is_some() {
            let n = self.incoming.len();
            if let Some(trial) = &mut trial {
                trial.tally.received += n as u64;
                if trial.record_every > 0 {
                    record(trial, &self.incoming);
                }
            }
            self.incoming.clear();
            received += n;
        }
        received
    }
}

/// Puts the latencies of a burst into the histogram: from the intended moment of each packet until now.
fn record(trial: &mut Trial, burst: &Burst) {
    let Some(schedule) = trial.schedule else { return };
    let now = Instant::now();
    for frame in burst.iter() {
        let Some(number) = number_of(frame.data()) else { continue };
        let (trial_number, number) = (number >> TRIAL_SHIFT, number & ((1 << TRIAL_SHIFT) - 1));
        if trial_number == trial.number && number.is_multiple_of(trial.record_every) {
            trial.tally.latencies.record(now.saturating_duration_since(schedule.moment(number)));
        }
    }
}

impl Task for Tester {
    fn poll(&mut self, ports: &mut Ports) -> usize {
        // Taken out, so that the trial and the rest of us can be changed independently.
        match std::mem::replace(&mut self.state, State::Waiting) {
            State::Waiting => self.receive(ports, None),
            State::Sending(mut trial) => {
                let received = self.receive(ports, Some(&mut trial));
                let over = self.send(ports, &mut trial);
                let now = trial.last_round;
                self.state =
                    if over { State::Draining { trial, last: now, since: now } } else { State::Sending(trial) };
                received + 1
            }
            State::Draining { mut trial, last, since } => {
                let received = self.receive(ports, Some(&mut trial));
                let now = Instant::now();
                let last = if received > 0 { now } else { last };
                let all = !self.returns || trial.tally.received >= trial.tally.sent;
                if all || now - last > QUIET || now - since > DRAIN {
                    // Nobody waits for it when the program is about to end.
                    let _ = self.tallies.send(trial.tally);
                } else {
                    self.state = State::Draining { trial, last, since };
                }
                received
            }
        }
    }

    fn housekeep(&mut self, _ports: &mut Ports) {
        if matches!(self.state, State::Waiting)
            && let Ok(order) = self.orders.try_recv()
        {
            self.begin(order);
        }
    }

    fn may_sleep(&self) -> bool {
        false
    }
}
