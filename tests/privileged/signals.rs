//! Signals to a real node, and a node that is PID 1 of its namespace.
//!
//! Needs root, `ip` of iproute2, and `unshare` of util-linux.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::namespaces::program::Machine;
use crate::namespaces::{LIMIT, Lab};
use crate::needs;

/// What a node on loopback needs: its port, the servers that it asks, and its files.
fn on_loopback(port: u16, servers: &str, files: &str) -> String {
    format!(
        "listen: {{ address: 127.0.0.1, port: {port} }}\n\
         discovery: {{ methods: [], servers: [{servers}] }}\n\
         interfaces: {{ include: [lo], exclude: [], addresses: {{ loopback: true }} }}\n\
         files: {{ {files} }}"
    )
}

#[test]
fn hangup_is_logged_and_a_node_outlives_it_and_the_signals_that_nobody_needs() {
    let lab = Lab::new();
    let namespace = lab.namespace("a");
    let hub = Machine::new(&namespace, "hub", "server", &on_loopback(24373, "", ""));
    let mut running = hub.run();
    // HUP is sent last, so its line in the log means that the others were delivered.
    for signal in [Signal::USR1, Signal::USR2, Signal::ALARM, Signal::HUP] {
        running.send(signal);
    }
    hub.until("the signal is in the log", |_| {
        hub.log().contains("SIGHUP is ignored")
    });
    assert!(running.is_alive());
    assert!(!hub.status().is_null());
    running.stop();
}

/// The processes whose parent is this one, ended ones too.
fn children_of(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    processes
        .filter(|process| {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
            fields.split(' ').nth(1) == Some(&parent.to_string())
        })
        .collect()
}

#[test]
fn node_as_pid_1_reaps_what_its_hooks_left_running_and_still_learns_how_they_ended() {
    needs::programs(&[("unshare", "util-linux")]);
    let lab = Lab::new();
    let namespace = lab.namespace("a");
    let offer = "offer: [{ name: f, path: offered }]";
    let hub = Machine::new(&namespace, "hub", "server", &on_loopback(24373, "", offer));
    let offered = hub.directory().join("offered");
    fs::write(&offered, "0").unwrap();
    let _hub = hub.run();
    let accept = "spread: 50ms, accept: [{ name: f, path: taken, after: { type: exec, command: [./hook], limit: 30s } }]";
    let node = Machine::new(
        &namespace,
        "node",
        "client",
        &on_loopback(24374, "127.0.0.1:24373", accept),
    )
    .within(&["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]);
    let hook = node.directory().join("hook");
    // One child in the hook's own process group, and one in a session of its own as a daemon has it.
    let script = "#!/bin/sh\nsleep 0.2 &\nsetsid sleep 0.2 &\ngrep -q last \"$HEREABOUTS_FILE\" && exit 7\nexit 0\n";
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    node.reconfigure("./hook", hook.to_str().unwrap());
    let running = node.run();
    node.registered();
    for content in ["1", "2", "3", "last"] {
        fs::write(&offered, content).unwrap();
        let pushed = hub.json(&["push", "f", "--timeout", "60s"], &[]);
        assert_eq!(
            pushed.code,
            Some(i32::from(content == "last")),
            "{content}: {:?}\n{}",
            pushed.lines,
            node.log()
        );
    }
    let [init] = children_of(running.id())[..] else {
        panic!("unshare has one child");
    };
    let started = Instant::now();
    while !children_of(init).is_empty() {
        assert!(
            started.elapsed() < LIMIT,
            "{:?}\n{}",
            children_of(init),
            node.log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
