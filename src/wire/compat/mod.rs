//! The legacy protocols, as their programs were deployed: frozen, byte for byte. Pure.
//!
//! None of them authenticates the sender. `docs/reference/legacy-protocols.md` lists the weaknesses
//! of each; nothing here can remove them, because the peer is an old program that knows nothing
//! else.

pub mod dynip;
pub mod pydiscover;
pub mod terminals;
