//! Whose turn it is to be polled: a thread's own lports by position, round by round.
//!
//! 1. An lport is active until [`QUIET_AFTER`] polls in a row found nothing, then it is quiet until one finds packets.
//! 2. A round begins with every active lport. Quiet ones follow, one after the other over the rounds: as many as what the rounds
//!    before moved pays for ([`QUIET_PRICE`], [`AT_ONCE`]), so that any number of them takes one share of a busy thread's time;
//!    after a round that moved nothing, so many that all have had theirs within [`EMPTY_ROUNDS`].
//! 3. Where no lport is active, every round polls all of them.
//!
//! The task asks through [`super::Ports::rx_next`]; nothing here knows queues or packets.

/// Empty polls in a row after which an lport is quiet.
const QUIET_AFTER: u8 = 64;

/// Packets that active lports have to move for one poll of a quiet one. The poll takes as long as two or three packets do, so that
/// quiet lports take some 4 per cent of a thread that has no other time left.
const QUIET_PRICE: usize = 64;

/// Turns of quiet lports are saved up until there are so many: one alone takes several times as long as one among others, whose
/// memory comes meanwhile, and whose code the CPU has just seen. Where fewer are quiet, they have no more for that.
const AT_ONCE: usize = 8;

/// What a round that moves packets costs, in packets moved: it takes time even if they are few.
const ROUND_PRICE: usize = 8;

/// While active lports have nothing either, every quiet one has its turn within so many rounds.
const EMPTY_ROUNDS: usize = 8;

/// An lport among the others.
#[derive(Debug)]
struct Turn {
    position: usize,
    /// Polls in a row that found nothing, while it is active.
    empty_polls: u8,
}

/// The turns of a number of lports.
#[derive(Debug)]
pub(super) struct Turns {
    /// All of them: those that are active, then those that are quiet.
    order: Box<[Turn]>,
    active: usize,
    /// What of `order` still has its turn: the rest of the active ones, or of the quiet ones that follow them.
    turn: usize,
    end: usize,
    /// Turns of quiet ones that may follow in this round, and where in `order` they go on.
    quiet_turns: usize,
    next_quiet: usize,
    /// Packets that this round has moved, and what earlier ones paid for and nobody got.
    moved: usize,
    credit: usize,
}

impl Turns {
    /// All of them active, at the start of a round.
    pub(super) fn new(count: usize) -> Self {
        Self {
            order: (0..count).map(|position| Turn { position, empty_polls: 0 }).collect(),
            active: count,
            turn: 0,
            end: count,
            quiet_turns: 0,
            next_quiet: 0,
            moved: 0,
            credit: 0,
        }
    }

    /// The position whose turn it is; `None` when the round is over, and the next call begins another.
    ///
    /// The same one until [`Self::polled`] says how that was.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Option<usize> {
        if self.turn >= self.end {
            let quiet = self.order.len() - self.active;
            if quiet == 0 || !self.goes_on(quiet) {
                (self.turn, self.end, self.moved) = (0, self.active, 0);
                return None;
            }
        }
        Some(self.order[self.turn].position)
    }

    /// The lport whose turn it is was polled, and had so many packets.
    #[inline(always)]
    pub(super) fn polled(&mut self, received: usize) {
        if self.turn < self.active {
            let turn = &mut self.order[self.turn];
            turn.empty_polls = if received > 0 { 0 } else { turn.empty_polls + 1 };
            if turn.empty_polls >= QUIET_AFTER {
                self.retire();
                return;
            }
        } else if received > 0 {
            self.activate();
        }
        self.moved += received;
        self.turn += 1;
    }

    /// The active lport whose turn it was becomes quiet; the last active one takes its place, and its turn.
    #[cold]
    fn retire(&mut self) {
        self.active -= 1;
        self.end = self.active;
        self.order.swap(self.turn, self.active);
    }

    /// The quiet lport whose turn it was becomes active. It had its turn in this round.
    #[cold]
    fn activate(&mut self) {
        self.order[self.turn].empty_polls = 0;
        self.order.swap(self.turn, self.active);
        self.active += 1;
    }

    /// Those that had their turn were all of their kind. Whether some of the `quiet` ones follow; if not, how many do in the next
    /// round is found out.
    fn goes_on(&mut self, quiet: usize) -> bool {
        if self.quiet_turns == 0 {
            self.quiet_turns = self.affordable(quiet);
            return false;
        }
        let quiet = self.active..self.order.len();
        self.turn = if quiet.contains(&self.next_quiet) { self.next_quiet } else { quiet.start };
        self.end = quiet.end.min(self.turn + self.quiet_turns);
        self.quiet_turns -= self.end - self.turn;
        self.next_quiet = self.end;
        true
    }

    /// How many of `quiet` lports have their turn in the round that follows.
    fn affordable(&mut self, quiet: usize) -> usize {
        if self.active == 0 {
            quiet
        } else if self.moved == 0 {
            quiet.div_ceil(EMPTY_ROUNDS)
        } else {
            self.credit += self.moved + ROUND_PRICE;
            let paid = self.credit / QUIET_PRICE;
            if paid < AT_ONCE {
                return 0;
            }
            self.credit %= QUIET_PRICE;
            paid.min(quiet)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The positions of one round, in their order; `has` says how many packets each has.
    fn round(turns: &mut Turns, mut has: impl FnMut(usize) -> usize) -> Vec<usize> {
        let mut polled = Vec::new();
        while let Some(position) = turns.next() {
            polled.push(position);
            turns.polled(has(position));
        }
        polled
    }

    /// The turns of `count` lports of which only the first `busy` ones have packets, `packets` a round each, when the others
    /// are quiet.
    fn settled(count: usize, busy: usize, packets: usize) -> Turns {
        let mut turns = Turns::new(count);
        for _ in 0..QUIET_AFTER {
            let mut polled = round(&mut turns, |position| if position < busy { packets } else { 0 });
            polled.sort_unstable();
            assert!(polled.into_iter().eq(0..count), "all are active");
        }
        turns
    }

    /// The rounds in which each of the lports was polled at least once, from now on, and how many polls it took.
    fn rounds_for_all(turns: &mut Turns, count: usize, mut has: impl FnMut(usize) -> usize) -> (usize, usize) {
        let (mut seen, mut rounds, mut polls) = (vec![false; count], 0, 0);
        while seen.contains(&false) {
            rounds += 1;
            for position in round(turns, &mut has) {
                seen[position] = true;
                polls += 1;
            }
            assert!(rounds < 1_000_000, "some are never polled: {seen:?}");
        }
        (rounds, polls)
    }

    #[test]
    fn a_thread_without_lports_has_rounds_without_turns() {
        let mut turns = Turns::new(0);
        assert_eq!((turns.next(), turns.next()), (None, None));
    }

    #[test]
    fn where_nothing_moves_every_round_polls_all() {
        let mut turns = settled(100, 0, 0);
        for _ in 0..1000 {
            let mut polled = round(&mut turns, |_| 0);
            polled.sort_unstable();
            assert_eq!(polled, (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn quiet_lports_take_the_same_share_of_a_busy_thread_however_many_they_are() {
        for packets in [1, 32, 256] {
            let mut shares = [3, 64, 1024].map(|count| {
                let mut turns = settled(count, 1, packets);
                let rounds = 10_000;
                let polls: usize =
                    (0..rounds).map(|_| round(&mut turns, |at| packets * usize::from(at == 0)).len() - 1).sum();
                // In polls per packets and rounds, of which one would be all that they pay for.
                (polls * QUIET_PRICE) as f64 / ((packets + ROUND_PRICE) * rounds) as f64
            });
            // Three lports can have less than their share: no more than a turn per round.
            assert!(shares[0] <= 1.01, "{packets} packets a round: {shares:?}");
            shares[0] = 1.0;
            assert!(shares.iter().all(|share| (0.98..=1.01).contains(share)), "{packets} packets a round: {shares:?}");
        }
    }

    #[test]
    fn a_single_quiet_lport_has_no_more_turns_than_one_among_many() {
        let mut turns = settled(2, 1, 32);
        let polls: usize = (0..1280).map(|_| round(&mut turns, |at| 32 * usize::from(at == 0)).len() - 1).sum();
        assert_eq!(polls, (32 + ROUND_PRICE) * 1280 / (AT_ONCE * QUIET_PRICE));
    }

    #[test]
    fn beside_a_busy_lport_every_quiet_one_has_its_turn_one_after_the_other() {
        let mut turns = settled(65, 1, 32);
        let (rounds, polls) = rounds_for_all(&mut turns, 65, |position| if position == 0 { 32 } else { 0 });
        // 64 turns, 40/64 of one in each round.
        assert!((100..=104).contains(&rounds), "{rounds} rounds");
        assert!(polls - rounds <= 65, "{polls} polls in {rounds} rounds");
    }

    #[test]
    fn in_rounds_without_packets_all_have_their_turn_soon() {
        let mut turns = settled(65, 1, 32);
        // Begun with what the round before has paid for.
        round(&mut turns, |_| 0);
        let (rounds, _) = rounds_for_all(&mut turns, 65, |_| 0);
        assert_eq!(rounds, EMPTY_ROUNDS);
    }

    #[test]
    fn a_quiet_lport_that_has_packets_is_polled_in_every_round_from_then_on() {
        let mut turns = settled(65, 1, 32);
        let has = |position: usize| if position == 0 || position == 40 { 32 } else { 0 };
        rounds_for_all(&mut turns, 65, has);
        for _ in 0..1000 {
            let polled = round(&mut turns, has);
            let of = |position: usize| polled.iter().filter(|at| **at == position).count();
            assert_eq!((of(0), of(40)), (1, 1), "{polled:?}");
        }
    }

    #[test]
    fn a_task_that_stops_within_a_round_goes_on_there() {
        let mut turns = Turns::new(3);
        assert_eq!((turns.next(), turns.next()), (Some(0), Some(0)), "until it has been polled");
        for after in [Some(1), Some(2), None] {
            turns.polled(1);
            assert_eq!(turns.next(), after);
        }
        assert_eq!(turns.next(), Some(0), "of the next round");
    }

    proptest! {
        /// Whatever comes when: an active lport is polled in every round, and the others have their turn in time.
        #[test]
        fn nobody_is_left_out(
            count in 1..40_usize,
            script in vec((vec(any::<prop::sample::Index>(), 0..4), 1..100_usize, 0..256_usize), 1..40),
        ) {
            let mut turns = Turns::new(count);
            let mut waits = vec![0; count];
            for (busy, rounds, packets) in script {
                let busy: Vec<_> = busy.iter().map(|index| index.index(count)).collect();
                for _ in 0..rounds {
                    let active: Vec<_> = turns.order[..turns.active].iter().map(|turn| turn.position).collect();
                    let polled = round(&mut turns, |position| if busy.contains(&position) { packets } else { 0 });
                    // Twice where it became quiet in between.
                    let times = |position: &usize| polled.iter().filter(|at| *at == position).count();
                    prop_assert!(active.iter().all(|position| matches!(times(position), 1 | 2)));
                    for (position, wait) in waits.iter_mut().enumerate() {
                        *wait = if polled.contains(&position) { 0 } else { *wait + 1 };
                        // A round pays for one in QUIET_PRICE / ROUND_PRICE at least, AT_ONCE have their turns together, and one
                        // that changed places waits for the next time.
                        let together = count.div_ceil(AT_ONCE) * AT_ONCE;
                        prop_assert!(*wait <= 2 * together * QUIET_PRICE / ROUND_PRICE);
                    }
                    let mut order: Vec<_> = turns.order.iter().map(|turn| turn.position).collect();
                    order.sort_unstable();
                    prop_assert!(order.iter().copied().eq(0..count), "{:?}", turns.order);
                }
            }
        }
    }
}
