//! Which program holds a port.

use std::fmt;
use std::fs;
use std::path::Path;

/// The maximum number of processes that are searched, and of open files of each: an error message
/// is not worth more.
const MAX_PROCESSES: usize = 32_768;
const MAX_OPEN_FILES: usize = 4096;

/// The program that holds a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub pid: u32,
    /// The command name (`/proc/PID/comm`); empty if it can't be read.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PID {}", self.pid)?;
        if self.name.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.name)
        }
    }
}

/// The program that holds a UDP port, by `/proc`; `None` if the port is free or `/proc` can't be
/// read (another user's process).
pub(super) fn udp_port_holder(port: u16) -> Option<Holder> {
    port_holder(["udp", "udp6"], port)
}

/// The program that holds a TCP port, as above.
pub(super) fn tcp_port_holder(port: u16) -> Option<Holder> {
    port_holder(["tcp", "tcp6"], port)
}

fn port_holder(tables: [&str; 2], port: u16) -> Option<Holder> {
    let sockets = tables.into_iter().filter_map(|table| {
        let own = Path::new("/proc/thread-self/net").join(table);
        fs::read_to_string(own).ok()
    });
    let inodes: Vec<String> = sockets.flat_map(|table| inodes(&table, port)).collect();
    if inodes.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc")
        .ok()?
        .take(MAX_PROCESSES)
        .filter_map(Result::ok);
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    let own = std::process::id();
    // This process last: it may hold the port in one family already when another program has it in
    // the other one.
    for pid in pids.filter(|pid| *pid != own).chain([own]) {
        let process = Path::new("/proc").join(pid.to_string());
        if holds(&process, &inodes) {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            let printable = |c: &char| c.is_ascii_graphic() || *c == ' ';
            return Some(Holder {
                pid,
                name: name.trim().chars().filter(printable).take(32).collect(),
            });
        }
    }
    None
}

/// The inodes of the sockets that are bound to a port, from the text of `/proc/net/udp`.
fn inodes(table: &str, port: u16) -> Vec<String> {
    let rows = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let local = fields.nth(1)?.rsplit_once(':')?.1;
        let inode = fields.nth(7)?;
        (u16::from_str_radix(local, 16) == Ok(port)).then(|| format!("socket:[{inode}]"))
    });
    rows.collect()
}

fn holds(process: &Path, inodes: &[String]) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    files
        .take(MAX_OPEN_FILES)
        .filter_map(Result::ok)
        .any(|file| {
            fs::read_link(file.path()).is_ok_and(|target| {
                inodes
                    .iter()
                    .any(|inode| target.as_os_str() == inode.as_str())
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
        \x20 101: 00000000:5F35 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 31337 2 0000000000000000 0\n\
        \x20 102: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4242 2 0000000000000000 0\n\
        broken line\n";

    #[test]
    fn inode_is_found_by_port() {
        assert_eq!(inodes(TABLE, 24373), ["socket:[31337]"]);
        assert_eq!(inodes(TABLE, 53), ["socket:[4242]"]);
        assert!(inodes(TABLE, 54).is_empty());
    }

    #[test]
    fn holder_of_an_own_port_is_this_process() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let holder = udp_port_holder(socket.local_addr().unwrap().port()).unwrap();
        assert_eq!(holder.pid, std::process::id());
        assert!(!holder.name.is_empty());
    }
}
