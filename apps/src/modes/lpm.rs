//! Longest prefix match: a table of disjoint ranges and a binary search.
//!
//! Prefixes never overlap in part: of two, one lies in the other, or they are apart. So they cut the addresses into at
//! most `2n + 1` ranges in each of which one prefix is the longest. The table holds where each range begins and whose it
//! is. It is built once; a lookup touches log2 of that many words of one array, and allocates nothing.

use std::ops::RangeInclusive;

/// An address of a family.
pub(super) trait Address: Copy + Ord {
    /// The lowest address.
    const ZERO: Self;

    /// The next address; `None` behind the highest.
    fn next(self) -> Option<Self>;
}

impl Address for u32 {
    const ZERO: Self = 0;

    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Address for u128 {
    const ZERO: Self = 0;

    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// The table; what a prefix leads to is a number of the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lpm<A> {
    /// Where each range begins, ascending; the first one is zero.
    starts: Vec<A>,
    /// Where each range leads.
    leads: Vec<Option<u32>>,
}

impl<A: Address> Lpm<A> {
    /// The table of `prefixes`, given as the ranges of their addresses. Of two equal ones the first holds.
    pub(super) fn new(prefixes: impl IntoIterator<Item = (RangeInclusive<A>, u32)>) -> Self {
        let mut prefixes: Vec<_> = prefixes.into_iter().collect();
        // Outer before inner. A later duplicate comes first, and the earlier one covers it.
        prefixes.reverse();
        prefixes.sort_by(|(a, _), (b, _)| (a.start(), b.end()).cmp(&(b.start(), a.end())));
        let mut table = Self { starts: vec![A::ZERO], leads: vec![None] };
        // The prefixes around the current address, each inside the one before.
        let mut open: Vec<(A, u32)> = Vec::new();
        for (range, lead) in prefixes {
            table.close(&mut open, |end| end < *range.start());
            table.begin(*range.start(), Some(lead));
            open.push((*range.end(), lead));
        }
        table.close(&mut open, |_| true);
        table
    }

    /// Ends the innermost prefixes whose end is `past`: behind them the next outer one leads.
    fn close(&mut self, open: &mut Vec<(A, u32)>, past: impl Fn(A) -> bool) {
        while let Some((end, _)) = open.pop_if(|(end, _)| past(*end)) {
            if let Some(behind) = end.next() {
                self.begin(behind, open.last().map(|(_, lead)| *lead));
            }
        }
    }

    /// From `start` on, addresses lead to `lead`.
    fn begin(&mut self, start: A, lead: Option<u32>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.leads.pop();
        }
        self.starts.push(start);
        self.leads.push(lead);
    }

    /// Where the longest prefix that holds `address` leads.
    #[inline]
    pub(super) fn lookup(&self, address: A) -> Option<u32> {
        // The first range begins at zero, so there is always one at or before the address.
        self.leads[self.starts.partition_point(|start| *start <= address) - 1]
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::super::prefix::Prefix;
    use super::*;

    /// What longest prefix match means: of all that hold the address, the longest.
    fn naive<A: Address>(prefixes: &[(RangeInclusive<A>, u32)], lens: &[u8], address: A) -> Option<u32> {
        let holding = (0..prefixes.len()).filter(|i| prefixes[*i].0.contains(&address));
        holding.rev().max_by_key(|i| lens[*i]).map(|i| prefixes[i].1)
    }

    proptest! {
        #[test]
        fn ipv4_lookups_equal_the_naive_match(
            // Few different bits, so that prefixes nest, touch and repeat.
            networks in prop::collection::vec((prop::sample::select(vec![0_u32, 0x0a00_0000, 0x0a01_0000, 0x0aff_ff00, u32::MAX]), 0..=32_u8), 0..40),
            flips in prop::collection::vec((any::<prop::sample::Index>(), 0..33_u32), 1..100),
            anywhere: [u32; 8],
        ) {
            let address = |(bits, len): &(u32, u8)| Prefix::new(Ipv4Addr::from_bits(*bits).into(), *len).unwrap().v4().unwrap();
            let prefixes: Vec<_> = networks.iter().map(address).zip(0..).collect();
            let lens: Vec<_> = networks.iter().map(|(_, len)| *len).collect();
            let table = Lpm::new(prefixes.clone());
            // Ends of prefixes and their neighbours are where a table goes wrong.
            let near = flips.iter().filter(|_| !prefixes.is_empty()).map(|(index, shift)| {
                let (range, _) = &prefixes[index.index(prefixes.len())];
                [range.start().wrapping_sub(1), *range.start(), *range.end(), range.end().wrapping_add(1)][*shift as usize % 4]
            });
            for probe in near.chain(anywhere).chain([0, u32::MAX]) {
                prop_assert_eq!(table.lookup(probe), naive(&prefixes, &lens, probe), "{}", Ipv4Addr::from_bits(probe));
            }
        }

        #[test]
        fn ipv6_lookups_equal_the_naive_match(networks in prop::collection::vec((0..16_u8, 0..=128_u8), 0..30), probes: [u128; 8]) {
            let range = |(bits, len): &(u8, u8)| {
                Prefix::new(Ipv6Addr::from_bits(u128::from(*bits) << 124).into(), *len).unwrap().v6().unwrap()
            };
            let prefixes: Vec<_> = networks.iter().map(range).zip(0..).collect();
            let lens: Vec<_> = networks.iter().map(|(_, len)| *len).collect();
            let table = Lpm::new(prefixes.clone());
            let ends = prefixes.iter().flat_map(|(range, _)| [*range.start(), *range.end(), range.end().wrapping_add(1)]);
            for probe in ends.chain(probes) {
                prop_assert_eq!(table.lookup(probe), naive(&prefixes, &lens, probe), "{}", Ipv6Addr::from_bits(probe));
            }
        }
    }

    #[test]
    fn an_empty_table_leads_nowhere() {
        assert_eq!(Lpm::<u32>::new([]).lookup(0), None);
    }
}
