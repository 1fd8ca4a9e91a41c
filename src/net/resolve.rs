//! Looks up the names of known servers, within limits of time, number and threads.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tracing::{debug, trace};

/// How long a look-up may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The maximum number of addresses that are used of one name.
const MAX_ADDRESSES: usize = 8;
/// The maximum number of look-ups at a time: one that hangs in the system's resolver holds a thread
/// until it ends.
const MAX_LOOK_UPS: usize = 4;

static LOOK_UPS: std::sync::LazyLock<Arc<Semaphore>> =
    std::sync::LazyLock::new(|| Arc::new(Semaphore::new(MAX_LOOK_UPS)));

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The text is not `host:port`.
    #[error("look up '{name}': write host:port, an IPv6 address in brackets ([2001:db8::1]:24373)")]
    Form { name: String },
    /// The resolver failed.
    #[error("look up '{name}': {source}")]
    Failed {
        name: String,
        #[source]
        source: std::io::Error,
    },
    /// The resolver knows the name, but no address of it.
    #[error("look up '{name}': the name has no address")]
    Empty { name: String },
    /// The resolver did not answer in time.
    #[error("look up '{name}': no reply from the resolver within {limit} s", limit = LIMIT.as_secs())]
    Slow { name: String },
}

/// The addresses of a `host:port`, at most eight, within five seconds.
///
/// The host is a name, an IPv4 address, or an IPv6 address in brackets, with a zone if it is
/// link-local. An address needs no resolver. Must be called within a tokio runtime.
pub async fn resolve(name: &str) -> Result<Vec<SocketAddr>, ResolveError> {
    let result = look_up(name).await;
    match &result {
        Ok(addresses) => trace!(name, ?addresses, "the name is resolved"),
        Err(error) => debug!(name, %error, "the name is not resolved"),
    }
    result
}

async fn look_up(name: &str) -> Result<Vec<SocketAddr>, ResolveError> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let (host, port) = split(name).ok_or_else(|| ResolveError::Form {
        name: name.to_owned(),
    })?;
    let host = host.to_owned();
    let resolved = async {
        // The permit lives as long as the thread, not as long as this wait.
        let permit = Arc::clone(&LOOK_UPS)
            .acquire_owned()
            .await
            .map_err(std::io::Error::other)?;
        let blocking = tokio::task::spawn_blocking(move || {
            let found: std::io::Result<Vec<SocketAddr>> = (host.as_str(), port)
                .to_socket_addrs()
                .map(|found| found.take(MAX_ADDRESSES).collect());
            drop(permit);
            found
        });
        blocking.await.map_err(std::io::Error::other)?
    };
    match tokio::time::timeout(LIMIT, resolved).await {
        Err(_) => Err(ResolveError::Slow {
            name: name.to_owned(),
        }),
        Ok(Err(source)) => Err(ResolveError::Failed {
            name: name.to_owned(),
            source,
        }),
        Ok(Ok(found)) if found.is_empty() => Err(ResolveError::Empty {
            name: name.to_owned(),
        }),
        Ok(Ok(found)) => Ok(found),
    }
}

/// Splits `host:port` and removes the brackets of an IPv6 address.
fn split(name: &str) -> Option<(&str, u16)> {
    let (host, port) = name.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => {
            let inner = rest.strip_suffix(']')?;
            // Brackets may hold only an address; the resolver checks its zone.
            inner
                .split('%')
                .next()?
                .parse::<IpAddr>()
                .ok()
                .filter(IpAddr::is_ipv6)?;
            inner
        }
        None if host.contains([':', '[', ']']) => return None,
        None => host,
    };
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_split() {
        for (text, expected) in [
            ("hub.example.org:24373", Some(("hub.example.org", 24373))),
            ("[fe80::1%eth0]:24373", Some(("fe80::1%eth0", 24373))),
            ("hub", None),
            ("hub:", None),
            ("hub:0", None),
            ("hub:65536", None),
            (":24373", None),
            ("fe80::1:24373", None),
            ("[hub]:24373", None),
            ("[::1:24373", None),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn addresses_need_no_resolver() {
        assert_eq!(
            resolve("192.0.2.1:5").await.unwrap(),
            ["192.0.2.1:5".parse().unwrap()]
        );
        assert_eq!(
            resolve("[2001:db8::1]:5").await.unwrap(),
            ["[2001:db8::1]:5".parse().unwrap()]
        );
    }

    #[tokio::test]
    async fn localhost_is_found() {
        let found = resolve("localhost:24373").await.unwrap();
        assert!(
            found
                .iter()
                .all(|address| address.ip().is_loopback() && address.port() == 24373),
            "{found:?}"
        );
    }

    #[tokio::test]
    async fn zone_of_a_link_local_address_is_its_scope() {
        let found = resolve("[fe80::1%lo]:24373").await.unwrap();
        let [SocketAddr::V6(address)] = found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(address.scope_id(), 1);
    }

    #[tokio::test]
    async fn malformed_name_is_refused_with_the_expected_form() {
        let error = resolve("fe80::1").await.unwrap_err();
        assert!(error.to_string().contains("host:port"), "{error}");
    }
}
