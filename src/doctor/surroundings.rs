//! What is around the program: a container, a link's size, a firewall's rule set.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::firewall::{self, Flow};
use super::observations::{FirewallSeen, Surroundings};
use crate::model::InterfaceName;

/// Where `nft` stands: never looked for in `$PATH`, as this may run as root.
const NFT: [&str; 3] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"];
/// How long `nft` may take: a large rule set takes some 100 ms.
const NFT_LIMIT: Duration = Duration::from_secs(2);
/// The longest rule set that is read.
const NFT_BYTES: u64 = 16 << 20;

/// What this program runs in.
pub(super) fn surroundings() -> Surroundings {
    let exists = |path: &str| Path::new(path).exists();
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        Surroundings::Pod
    } else if exists("/.dockerenv") || exists("/run/.containerenv") {
        Surroundings::Container
    } else {
        Surroundings::Host
    }
}

/// The longest packet of an interface in bytes; `None` if it can't be read.
pub(super) fn mtu(interface: InterfaceName) -> Option<u32> {
    fs::read_to_string(format!("/sys/class/net/{interface}/mtu"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Reads the rule set of nftables and judges it. Blocks for at most [`NFT_LIMIT`].
pub(super) fn firewall(flows: &[Flow]) -> FirewallSeen {
    let Some(nft) = NFT.into_iter().find(|path| Path::new(path).exists()) else {
        return FirewallSeen::Unknown("there is no nft here".to_owned());
    };
    match output(nft) {
        Ok(ruleset) => match firewall::evaluate(&ruleset, flows) {
            Some((verdicts, kept_by)) => FirewallSeen::Read { verdicts, kept_by },
            None => FirewallSeen::Unknown("nft told no rule set: it may need root".to_owned()),
        },
        Err(why) => FirewallSeen::Unknown(why),
    }
}

fn output(nft: &str) -> Result<String, String> {
    let mut child = Command::new(nft)
        .args(["-j", "list", "ruleset"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("nft can't be run: {error}"))?;
    let (done, wait) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut text = String::new();
            let read = stdout
                .take(NFT_BYTES)
                .read_to_string(&mut text)
                .map(|_| text);
            // Nobody waits any more where the limit has passed.
            let _ = done.send(read);
        });
    }
    let read = wait.recv_timeout(NFT_LIMIT);
    // It has ended, or is to: its output is here, or too late or too long.
    let _ = child.kill();
    let _ = child.wait();
    match read {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(format!("what nft told can't be read: {error}")),
        Err(_) => Err(format!("nft did not end within {} s", NFT_LIMIT.as_secs())),
    }
}
