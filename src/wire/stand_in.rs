//! Ids for names that nobody proved to hold.

use sha2::{Digest, Sha256};

use super::identity::is_key;
use crate::model::{NodeId, NodeName};

/// What goes before the name in the hash.
const LABEL: &[u8] = b"hereabouts/1 stand-in";

/// The id under which a registry keeps a name that came by a wire without signatures.
///
/// It is made of the name alone, as the name is all that such a machine has. It is never the id of a real node, and nobody
/// can sign or renew under it: of the hashes of the name with a counter, the first one is taken that is no point of the
/// curve, so that no private key belongs to it. About every second hash is none.
pub fn stand_in(name: &NodeName) -> NodeId {
    let hash = |counter: u64| {
        let mut hash = Sha256::new_with_prefix(LABEL);
        hash.update(counter.to_be_bytes());
        hash.update(name.as_str());
        NodeId(hash.finalize().into())
    };
    // It ends: the chance that a thousand hashes are all points is that of a thousand heads in a row.
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
    fn stand_in_depends_on_the_name_alone_and_is_nobodys_key() {
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
