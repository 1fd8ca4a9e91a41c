//! Which groups the kernel holds on which interface, by `/proc/net/igmp` and `/proc/net/igmp6`.
//!
//! A socket keeps its memberships when the kernel has dropped them: when the last address of an
//! interface, or the interface itself, disappears and returns. Only the kernel's own list is right
//! then.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Family;

/// The memberships of a family by interface index; `None` where `/proc` does not have them.
pub(super) fn joined(family: Family) -> Option<HashSet<(u32, IpAddr)>> {
    // The thread's own view, as a thread can be in another network namespace than the process.
    let table = match family {
        Family::Ipv4 => "/proc/thread-self/net/igmp",
        Family::Ipv6 => "/proc/thread-self/net/igmp6",
    };
    let text = std::fs::read_to_string(table).ok()?;
    Some(match family {
        Family::Ipv4 => ipv4(&text),
        Family::Ipv6 => ipv6(&text),
    })
}

/// An interface's line begins with its index; its groups follow on lines that begin with white
/// space, in the machine's own byte order.
fn ipv4(text: &str) -> HashSet<(u32, IpAddr)> {
    let mut index = None;
    let mut found = HashSet::new();
    for line in text.lines().skip(1) {
        let Some(first) = line.split_ascii_whitespace().next() else {
            continue;
        };
        if !line.starts_with(char::is_whitespace) {
            index = first.parse().ok();
        } else if let (Some(index), Ok(group)) = (index, u32::from_str_radix(first, 16)) {
            found.insert((index, Ipv4Addr::from(group.to_ne_bytes()).into()));
        }
    }
    found
}

/// A line has index, name and group.
fn ipv6(text: &str) -> HashSet<(u32, IpAddr)> {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let index = fields.next()?.parse().ok()?;
        let group = fields.nth(1).filter(|group| group.len() == 32)?;
        Some((
            index,
            Ipv6Addr::from_bits(u128::from_str_radix(group, 16).ok()?).into(),
        ))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_with_their_interface() {
        let native = |ip: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(ip));
        let text = format!(
            "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
             1\tlo        :     1      V3\n\t\t\t\t{}     1 0:00000000\t\t0\n\
             4\teth0      :     2      V3\n\t\t\t\t{}     1 0:00000000\t\t0\n\t\t\t\tbroken\n",
            native([224, 0, 0, 1]),
            native([239, 255, 43, 73])
        );
        let expected = [
            (1, [224, 0, 0, 1].into()),
            (4, IpAddr::from([239, 255, 43, 73])),
        ];
        assert_eq!(ipv4(&text), HashSet::from(expected));
        let text = "2    eth0            ff120000000000000000000000004373     1 00000004 0\nbroken\n3 eth1 ff02 1\n";
        assert_eq!(
            ipv6(text),
            HashSet::from([(2, "ff12::4373".parse().unwrap())])
        );
    }

    #[test]
    fn kernel_holds_the_group_of_all_hosts_on_loopback() {
        assert!(
            joined(Family::Ipv4)
                .unwrap()
                .contains(&(1, [224, 0, 0, 1].into()))
        );
    }
}
