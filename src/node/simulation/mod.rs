//! Nodes and servers in virtual time, under faults from a seed. Every step is checked; see `World::check`.
//!
//! A failing seed is printed: `HEREABOUTS_SEED=N cargo test simulation` replays it alone. `HEREABOUTS_SEEDS=N` runs more.

mod world;

use std::time::Duration;

use crate::discovery::Method;
use crate::model::{Role, State};
use crate::wire::v1::Refusal;
use world::{Faults, LEASE, World};

const SECOND: Duration = Duration::from_secs(1);
/// After the last fault all hosts agree within this time: a lease that must run out, and a search with its jitter.
const AGREE_WITHIN: Duration = Duration::from_secs(100);

/// Runs a scenario for several seeds, or for the one that the environment names.
fn seeds(scenario: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seeds = match (number("HEREABOUTS_SEED"), number("HEREABOUTS_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 1..1 + count.unwrap_or(4),
    };
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| scenario(seed)) {
            eprintln!("seed {seed} failed; replay it with HEREABOUTS_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

fn fleet(seed: u64, servers: usize, clients: usize) -> World {
    let mut world = World::new(seed);
    for number in 0..servers {
        world.add(&format!("server{number}"), Role::Both);
    }
    for number in 0..clients {
        world.add(&format!("client{number}"), Role::Client);
    }
    world
}

#[test]
fn quiet_network_agrees_within_a_second() {
    seeds(|seed| {
        let mut world = fleet(seed, 1, 5);
        (0..6).for_each(|host| world.start(host));
        let took = world
            .run_until(AGREE_WITHIN, World::agrees)
            .expect("all hosts agree");
        assert!(took <= SECOND, "{took:?}");
    });
}

#[test]
fn loss_duplicates_and_reordering_only_delay_agreement() {
    seeds(|seed| {
        let mut world = fleet(seed, 2, 5);
        world.faults = Faults {
            loss: 0.3,
            duplicates: 0.2,
            delay: Duration::from_millis(300),
        };
        (0..7).for_each(|host| world.start(host));
        world.run(SECOND * 120);
        world.faults = Faults::default();
        world
            .run_until(AGREE_WITHIN, World::agrees)
            .expect("all hosts agree after the faults");
        let stats = world.stats;
        assert!(
            stats.lost > 0 && stats.duplicated > 0 && stats.acknowledged > 0,
            "the faults did not happen: {stats:?}"
        );
    });
}

#[test]
fn nodes_are_registered_within_seconds_with_a_third_of_datagrams_lost() {
    let mut took = Vec::new();
    for seed in 1..=200 {
        let mut world = fleet(seed, 1, 1);
        world.methods = vec![Method::Multicast];
        world.faults = Faults {
            loss: 0.33,
            ..Faults::default()
        };
        world.start(0);
        world.run(SECOND * 5);
        world.start(1);
        took.push(
            world
                .run_until(AGREE_WITHIN, |world| world.holds_a_server(1))
                .unwrap_or(AGREE_WITHIN),
        );
    }
    took.sort();
    let of = |hundredths: usize| took[took.len() * hundredths / 100];
    let seen = [50, 90, 95, 99].map(|hundredths| (hundredths, of(hundredths)));
    println!("{seen:?}, at last {:?}", took.last());
    assert!(
        of(50) <= SECOND * 2 && of(90) <= SECOND * 6 && of(99) <= SECOND * 20,
        "{seen:?}"
    );
}

#[test]
fn crashes_and_restarts_lose_nothing_that_was_acknowledged() {
    seeds(|seed| {
        let mut world = fleet(seed, 2, 4);
        world.faults = Faults {
            loss: 0.1,
            duplicates: 0.1,
            delay: Duration::from_millis(100),
        };
        (0..6).for_each(|host| world.start(host));
        for _ in 0..30 {
            let pause = Duration::from_millis(world.rng.u64(10..20_000));
            world.run(pause);
            let host = world.rng.usize(0..6);
            if world.hosts[host].core.is_none() {
                world.start(host);
            } else if world.rng.bool() {
                world.crash(host);
            } else {
                world.stop(host);
            }
        }
        world.faults = Faults::default();
        (0..6)
            .filter(|host| world.hosts[*host].core.is_none())
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|host| world.start(host));
        world
            .run_until(AGREE_WITHIN, World::agrees)
            .expect("all hosts agree after the faults");
        assert!(world.stats.crashes > 0, "nothing crashed");
    });
}

#[test]
fn partition_expires_nodes_that_are_cut_off_and_heals() {
    seeds(|seed| {
        let mut world = fleet(seed, 1, 3);
        (0..4).for_each(|host| world.start(host));
        world
            .run_until(AGREE_WITHIN, World::agrees)
            .expect("all hosts agree");
        world.hosts[2].part = 1;
        world.run(LEASE.duration() + SECOND * 2);
        assert_eq!(world.state_of(0, "client1"), Some(State::Expired));
        assert_eq!(world.state_of(0, "client0"), Some(State::Present));
        assert!(world.stats.cut > 0);
        world.hosts[2].part = 0;
        world
            .run_until(SECOND * 40, World::agrees)
            .expect("the host that was cut off is back within one round of queries");
    });
}

#[test]
fn new_address_is_known_within_a_second() {
    seeds(|seed| {
        let mut world = fleet(seed, 2, 2);
        (0..4).for_each(|host| world.start(host));
        world
            .run_until(AGREE_WITHIN, World::agrees)
            .expect("all hosts agree");
        world.run(SECOND * 20);
        world.set_address(3, "10.0.9.9".parse().unwrap());
        let took = world
            .run_until(SECOND * 5, World::agrees)
            .expect("all servers know the new address");
        assert!(took <= SECOND, "{took:?}");
    });
}

#[test]
fn wrong_clocks_still_find_each_other() {
    seeds(|seed| {
        let mut world = fleet(seed, 1, 3);
        for host in 0..4 {
            world.hosts[host].skew_millis = world.rng.i64(-7_200_000..7_200_000);
        }
        (0..4).for_each(|host| world.start(host));
        let took = world
            .run_until(AGREE_WITHIN, World::agrees)
            .expect("all hosts agree");
        assert!(took <= SECOND * 2, "{took:?}");
        assert!(world.stats.refused_clocks > 0, "no clock was refused");
    });
}

#[test]
fn wiped_node_gets_its_name_back_where_names_are_released() {
    seeds(|seed| {
        let mut world = fleet(seed, 1, 1);
        world.release_after = Duration::ZERO;
        (0..2).for_each(|host| world.start(host));
        world
            .run_until(AGREE_WITHIN, World::agrees)
            .expect("all hosts agree");
        world.crash(1);
        world.wipe(1, 200);
        world.start(1);
        world.run(SECOND * 5);
        let core = world.hosts[1].core.as_ref().unwrap();
        let refusal = core
            .engine()
            .servers()
            .first()
            .and_then(|server| server.refusal.clone());
        assert!(
            matches!(refusal, Some(Refusal::NameHeld { .. })),
            "the name is free while its holder counts as present"
        );
        world
            .run_until(LEASE.duration() + SECOND * 75, World::agrees)
            .expect("the name is taken over");
    });
}

#[test]
fn name_stays_with_its_first_holder() {
    seeds(|seed| {
        let mut world = fleet(seed, 1, 2);
        world.hosts[2].name = world.hosts[1].name.clone();
        world.start(0);
        world.start(1);
        world
            .run_until(AGREE_WITHIN, |world| {
                world.state_of(0, "client0") == Some(State::Present)
            })
            .expect("it registers");
        world.start(2);
        world.run(SECOND * 200);
        let table = world.hosts[0].core.as_ref().unwrap().table().unwrap();
        assert_eq!(
            table.by_name(&world.hosts[1].name).unwrap().id(),
            world.hosts[1].id()
        );
        assert_eq!(world.hosts[0].core.as_ref().unwrap().conflicts().count(), 1);
    });
}

#[test]
fn copied_disk_is_recognised() {
    seeds(|seed| {
        let mut world = fleet(seed, 1, 2);
        world.start(0);
        world.start(1);
        world.run(SECOND * 10);
        world.clone_disk(1, 2);
        world.hosts[2].name = world.hosts[1].name.clone();
        world.start(2);
        world.run(SECOND * 180);
        let table = world.hosts[0].core.as_ref().unwrap().table().unwrap();
        assert!(table.counters().clones > 0, "{:?}", table.counters());
        assert_eq!(table.clone_sightings().count(), 1);
    });
}

#[test]
fn goodbye_takes_effect_at_once_and_survives_a_restart_of_the_server() {
    seeds(|seed| {
        let mut world = fleet(seed, 1, 2);
        (0..3).for_each(|host| world.start(host));
        world
            .run_until(AGREE_WITHIN, World::agrees)
            .expect("all hosts agree");
        world.stop(2);
        world.run(SECOND);
        assert_eq!(world.state_of(0, "client1"), Some(State::Left));
        world.crash(0);
        assert_eq!(world.on_disk(0).len(), 3);
        world.start(0);
        assert_eq!(world.state_of(0, "client1"), Some(State::Left));
        assert_eq!(world.state_of(0, "client0"), Some(State::Present));
    });
}

#[test]
fn servers_are_found_by_mdns_and_queried_by_unicast_where_no_group_works() {
    seeds(|seed| {
        let mut world = fleet(seed, 2, 3);
        world.groups = false;
        world.faults = Faults {
            loss: 0.2,
            duplicates: 0.1,
            delay: Duration::from_millis(50),
        };
        (0..5).for_each(|host| world.start(host));
        let all = |world: &World| {
            (0..5).all(|host| {
                let servers = world.hosts[host].core.as_ref().unwrap().engine().servers();
                servers.iter().any(|server| {
                    server.held.is_some() && server.found_by == crate::discovery::Method::Mdns
                })
            })
        };
        // Two methods have 3 s each before it.
        let took = world
            .run_until(SECOND * 60, all)
            .expect("all hosts found a server by mDNS");
        assert!(took >= SECOND * 6, "{took:?}");
        assert!(
            world.stats.browsed > 0 && world.stats.cut > 0,
            "{:?}",
            world.stats
        );
        // Browsing ended with the first server.
        let browsed = world.stats.browsed;
        world.run(SECOND * 20);
        assert_eq!(world.stats.browsed, browsed);
    });
}

#[test]
fn no_host_browses_where_groups_work() {
    seeds(|seed| {
        let mut world = fleet(seed, 2, 3);
        (0..5).for_each(|host| world.start(host));
        world.run(SECOND * 300);
        assert_eq!(world.stats.browsed, 0);
    });
}

#[test]
fn configured_servers_are_found_across_links() {
    seeds(|seed| {
        let mut world = fleet(seed, 1, 2);
        world.hosts[1].link = 1;
        world.hosts[1].configured = vec![0];
        (0..3).for_each(|host| world.start(host));
        let took = world
            .run_until(AGREE_WITHIN, World::agrees)
            .expect("all hosts agree");
        assert!(took <= SECOND * 2, "{took:?}");
        // Long enough for the work that follows after a server is reached; no step may keep the host awake for ever.
        world.run(SECOND * 10);
        // The server moves: its name is looked up again when it stops answering.
        let moved = "10.0.7.7".parse().unwrap();
        world.set_address(0, moved);
        let follows = |world: &World| {
            let core = world.hosts[1].core.as_ref().unwrap();
            let holds = core
                .engine()
                .servers()
                .iter()
                .any(|s| s.held.is_some() && s.address.ip() == moved);
            holds && world.agrees()
        };
        world
            .run_until(LEASE.duration() * 2 + SECOND * 40, follows)
            .expect("the client follows its server");
    });
}
