//! The wires of hereabouts' ancestors, as they were deployed: frozen, byte for byte. Pure.
//!
//! None of them proves who speaks. What is weak about each stands in `docs/reference/legacy-protocols.md`; nothing here makes it better, as
//! the other side is an old program that knows nothing else.

pub mod dynip;
pub mod pydiscover;
pub mod terminals;
