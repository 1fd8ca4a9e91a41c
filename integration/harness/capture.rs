//! What passed over a network's bridge, as `tcpdump` on this machine saw it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::Network;

const REMEDY: &str = "tcpdump is needed, as root: `apt-get install tcpdump`";

/// A running capture of all IP packets of a network.
pub(crate) struct Capture {
    tcpdump: Child,
    directory: TempDir,
}

impl Capture {
    /// Begins a capture; when it returns, every further packet is in it.
    pub(crate) async fn of(network: &Network) -> Self {
        let directory = TempDir::new().unwrap();
        let file = File::create(directory.path().join("pcap")).unwrap();
        let bridge = network.bridge();
        let mut tcpdump = Command::new("tcpdump")
            .args([
                "--immediate-mode",
                "-n",
                "-U",
                "-i",
                &bridge,
                "-w",
                "-",
                "ip or ip6",
            ])
            .stdout(file)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{error}: {REMEDY}"));
        let stderr = tcpdump.stderr.take().unwrap();
        let started = tokio::task::spawn_blocking(move || {
            let mut stderr = BufReader::new(stderr);
            let mut output = String::new();
            while !output.contains("listening on")
                && stderr.read_line(&mut output).is_ok_and(|read| read > 0)
            {}
            let listening = output.contains("listening on");
            // If no thread read the pipe any more, the final messages of tcpdump would end it.
            std::thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
            if listening { Ok(()) } else { Err(output) }
        });
        started
            .await
            .unwrap()
            .unwrap_or_else(|output| panic!("{}: {REMEDY}", output.trim()));
        Self { tcpdump, directory }
    }

    /// The packets so far that a filter takes, one a line (pcap-filter(7)).
    pub(crate) fn packets(&self, filter: &str) -> Vec<String> {
        let read = Command::new("tcpdump")
            .arg("-n")
            .arg("-r")
            .arg(self.directory.path().join("pcap"))
            .arg(filter)
            .output();
        let read = read.unwrap();
        let stderr = String::from_utf8_lossy(&read.stderr);
        // A capture that is still running may end within a packet.
        assert!(
            read.status.success() || stderr.contains("truncated"),
            "{filter}: {stderr}"
        );
        String::from_utf8_lossy(&read.stdout)
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}
