//! The settings that are parsed and checked but do not work yet.

use super::{Config, PublishTarget, StoreConfig};

/// A setting that is used and does not work yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// The setting, such as `discovery.methods[2]`.
    pub path: String,
    /// The beginning of the sentence "{what} not available yet", with its verb.
    pub what: &'static str,
}

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} not available yet", self.path, self.what)
    }
}

impl Config {
    /// Every used setting that does not work yet; `run` starts only if there is none.
    // When a part is finished, remove it here, and remove "Not available yet" from its description.
    pub fn unavailable(&self) -> Vec<Unavailable> {
        let mut parts = Vec::new();
        for (i, target) in self.publish.iter().enumerate() {
            if let PublishTarget::Mdns { domain } = target
                && !domain.eq_ignore_ascii_case("local")
            {
                parts.push(Unavailable {
                    path: format!("publish[{i}].domain"),
                    what: "a domain of mDNS other than local is",
                });
            }
        }
        if matches!(self.registry.store, StoreConfig::Etcd { .. }) {
            parts.push(Unavailable {
                path: "registry.store".into(),
                what: "the store etcd is",
            });
        }
        if self.http.listen.is_some() {
            parts.push(Unavailable {
                path: "http.listen".into(),
                what: "the HTTP interface is",
            });
        }
        parts
    }
}
