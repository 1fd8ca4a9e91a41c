//! Ids for unverified names: names that no signature proves.

use sha2::{Digest, Sha256};

use super::identity::is_key;
use crate::model::{NodeId, NodeName};

/// The prefix of the hash input.
const LABEL: &[u8] = b"hereabouts/1 stand-in";

/// The id under which a registry keeps a name that it received by a protocol without signatures.
///
/// The id depends on the name alone, because such a machine has nothing else. It is never the id of
/// a real node, and no node can sign or renew under it: of the hashes of the name with a counter,
/// the first one that is no point of the curve is used, so that no private key belongs to it. About
/// every second hash is no point.
pub fn stand_in(name: &NodeName) -> NodeId {
    let hash = |counter: u64| {
        let mut hash = Sha256::new_with_prefix(LABEL);
        hash.update(counter.to_be_bytes());
        hash.update(name.as_str());
        NodeId(hash.finalize().into())
    };
    // The loop ends: a thousand hashes that are all points are as likely as a thousand heads in a
    // row.
    let mut counter = 0;
    loop {
        let id = hash(counter);
        if !is_key(&id) {
            return id;
        }
        counter += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::identity::{Identity, IdentityError, verify};

    #[test]
    fn stand_in_depends_on_the_name_alone_and_is_no_key() {
        let mut seen = std::collections::HashSet::new();
        for index in 0..200 {
            let name = NodeName::parse(&format!("node-{index}")).unwrap();
            let id = stand_in(&name);
            assert_eq!(id, stand_in(&name));
            assert!(seen.insert(id));
            assert_eq!(
                verify(&id, b"anything", &[0; 64]),
                Err(IdentityError::NotAKey)
            );
            let server = Identity::from_seed(&[1; 32]);
            assert_eq!(
                server.renewal_key_of_node(&id).unwrap_err(),
                IdentityError::NotAKey
            );
        }
    }
}
