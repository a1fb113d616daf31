//! The access list at work.

use super::super::AclRule;
use super::super::ip::tests::{v4_frame, v6_frame};
use super::*;

fn filtering(mode: Mode, otherwise: Action, rules: &[(Action, u32)]) -> Forwarding {
    let rule = |(action, destination): &(Action, u32)| AclRule {
        action: *action,
        protocol: Some(17),
        source: None,
        destination: Some(*destination..=*destination),
        source_ports: None,
        destination_ports: None,
    };
    let acl = Acl { rules: rules.iter().map(rule).collect(), otherwise };
    Forwarding { acl: Arc::new(acl), ..forwarding(mode) }
}

#[test]
fn what_passes_goes_on_as_with_fwd_and_the_rest_is_counted() {
    let [permitted, denied, unknown] = [1, 2, 3];
    let rules = [(Action::Permit, permitted), (Action::Deny, denied)];
    let modes = [
        (Mode::AclStrict, Action::Deny, vec![permitted], 2),
        (Mode::AclPermissive, Action::Permit, vec![permitted, unknown], 1),
    ];
    for (mode, otherwise, passing, denials) in modes {
        let mut sent: Vec<_> = [unknown, denied, permitted].iter().map(|to| (0, v4_frame(*to, 64, 0))).collect();
        sent.insert(0, (0, v6_frame(7, 64)));
        let (came, report) = exchange(&filtering(mode, otherwise, &rules), ONE_THREAD, &sent, passing.len());
        // The last octet of the destination MAC names lport 1; addresses are swapped, the TTL stays.
        let mut expected: Vec<_> = passing.iter().map(|to| (1, v4_frame(*to, 64, 0))).collect();
        expected.iter_mut().for_each(|(_, frame)| frame[..12].rotate_left(6));
        expected.reverse();
        assert_eq!(came, expected, "{mode}");
        let xstats = &report.lports[0].stats.xstats;
        for counter in [("acl_denied_dropped", denials), ("not_ip_dropped", 1), ("malformed_dropped", 0)] {
            assert!(xstats.contains(&counter), "{mode}: no {counter:?} in {xstats:?}");
        }
    }
}
