//! Randomness for the datagrams that a node sends.

use crate::wire::seal::Nonce;

/// Nonces from the system's randomness, drawn for many datagrams at a time: a system call for each would be slow.
#[derive(Default)]
pub(super) struct Nonces {
    drawn: Vec<Nonce>,
}

impl Nonces {
    const AT_A_TIME: usize = 128;
    const LENGTH: usize = size_of::<Nonce>();

    pub(super) fn next(&mut self) -> Nonce {
        if let Some(nonce) = self.drawn.pop() {
            return nonce;
        }
        let mut bytes = [0; Self::AT_A_TIME * Self::LENGTH];
        #[expect(
            clippy::expect_used,
            reason = "a system without randomness can't keep a secret: nothing may be sent"
        )]
        getrandom::fill(&mut bytes).expect("the system gives randomness");
        let (last, others) = bytes
            .as_chunks::<{ Self::LENGTH }>()
            .0
            .split_last()
            .unwrap_or((&[0; Self::LENGTH], &[]));
        self.drawn.extend(others);
        *last
    }
}

/// A random number for jitter and query ids. It is not secret: where the system gives no randomness, a hash replaces it.
pub(crate) fn random_seed() -> u64 {
    getrandom::u64()
        .unwrap_or_else(|_| std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0))
}
