//! Facts about the surroundings of the program: container, MTU, and the rule set of the firewall.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::firewall::{self, Flow};
use super::observations::{Environment, FirewallState};
use crate::model::InterfaceName;

/// Where `nft` is installed. `$PATH` is never searched, because this may run as root.
const NFT: [&str; 3] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"];
/// How long `nft` may take: a large rule set takes some 100 ms.
const NFT_LIMIT: Duration = Duration::from_secs(2);
/// The limit of the rule set in bytes.
const NFT_BYTES: u64 = 16 << 20;

/// What this program runs in.
pub(super) fn detect() -> Environment {
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        Environment::Pod
    } else if Path::new("/.dockerenv").exists() || Path::new("/run/.containerenv").exists() {
        Environment::Container
    } else {
        Environment::Host
    }
}

/// The longest packet of an interface in bytes; `None` if it cannot be read.
pub(super) fn mtu(interface: InterfaceName) -> Option<u32> {
    fs::read_to_string(format!("/sys/class/net/{interface}/mtu"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Reads the rule set of nftables and evaluates it for `flows`. Blocks for at most [`NFT_LIMIT`].
pub(super) fn firewall(flows: &[Flow]) -> FirewallState {
    let Some(nft) = NFT.into_iter().find(|path| Path::new(path).exists()) else {
        return FirewallState::Unknown("nft is not installed".to_owned());
    };
    match output(nft) {
        Ok(ruleset) => match firewall::evaluate(&ruleset, flows) {
            Some((verdicts, manager)) => FirewallState::Read { verdicts, manager },
            None => FirewallState::Unknown("nft printed no rule set: it may need root".to_owned()),
        },
        Err(reason) => FirewallState::Unknown(reason),
    }
}

fn output(nft: &str) -> Result<String, String> {
    let mut child = Command::new(nft)
        .args(["-j", "list", "ruleset"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("nft cannot be run: {error}"))?;
    let (done, wait) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut text = String::new();
            let read = stdout
                .take(NFT_BYTES)
                .read_to_string(&mut text)
                .map(|_| text);
            // The receiver is gone where the limit has passed.
            let _ = done.send(read);
        });
    }
    let read = wait.recv_timeout(NFT_LIMIT);
    // It has ended, or its output is too late or too long.
    let _ = child.kill();
    let _ = child.wait();
    match read {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(format!("the output of nft cannot be read: {error}")),
        Err(_) => Err(format!("nft did not end within {} s", NFT_LIMIT.as_secs())),
    }
}
