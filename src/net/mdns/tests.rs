use std::time::Duration;

use super::link::{FLOOD_QUIET_PERIOD, MIN_REST, Rests};
use super::*;

fn shown() -> AnnouncedService {
    AnnouncedService {
        service: "_hereabouts._udp".into(),
        instance: "hub".into(),
        host: "hub".into(),
        port: 24373,
        addresses: Vec::new(),
        text: Vec::new(),
        probe: false,
    }
}

#[test]
fn daemon_restarts_only_for_a_change_that_it_can_not_undo() {
    let nothing = LinkSettings {
        addresses: vec![[10, 0, 0, 1].into()],
        ..LinkSettings::default()
    };
    let watching = LinkSettings {
        host: Some("hub".into()),
        ..nothing.clone()
    };
    let showing = LinkSettings {
        shown: Some(shown()),
        ..watching.clone()
    };
    let browsing = LinkSettings {
        browse: Some("_hereabouts._udp".into()),
        ..showing.clone()
    };
    assert!(
        !nothing.needs_restart_for(&watching)
            && !watching.needs_restart_for(&showing)
            && !showing.needs_restart_for(&browsing)
    );
    assert!(
        !browsing.needs_restart_for(&showing),
        "browsing ends without a goodbye"
    );
    assert!(
        showing.needs_restart_for(&watching),
        "the announced service is withdrawn"
    );
    let elsewhere = LinkSettings {
        addresses: vec![[10, 0, 0, 2].into()],
        ..showing.clone()
    };
    assert!(showing.needs_restart_for(&elsewhere));
    assert!(showing.needs_restart_for(&LinkSettings {
        round: 1,
        ..showing.clone()
    }));
    assert!(nothing.is_idle() && !watching.is_idle());
    assert!(
        LinkSettings {
            addresses: Vec::new(),
            ..showing
        }
        .is_idle()
    );
}

#[test]
fn rests_double_until_the_quiet_period_is_over() {
    let mut rests = Rests::default();
    let soon = Duration::ZERO;
    let seen: Vec<_> = (0..7)
        .map(|_| rests.after(soon))
        .map(|(rest, again)| (rest.as_secs(), again))
        .collect();
    assert_eq!(
        seen,
        [
            (1, false),
            (2, true),
            (4, true),
            (8, true),
            (16, true),
            (16, true),
            (16, true)
        ]
    );
    assert_eq!(rests.after(FLOOD_QUIET_PERIOD), (MIN_REST, false));
    assert_eq!(rests.after(soon), (MIN_REST * 2, true));
}

#[test]
fn link_local_addresses_carry_their_zone() {
    let ip: IpAddr = "fe80::1".parse().unwrap();
    assert_eq!(scoped(ip, 1, 7).to_string(), "[fe80::1%7]:1");
    assert_eq!(scoped([10, 0, 0, 1].into(), 1, 7).to_string(), "10.0.0.1:1");
}
