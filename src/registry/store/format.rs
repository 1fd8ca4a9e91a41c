//! The values in the store's file: the head that identifies it, and pages of renewal times.

use std::convert::Infallible;

use minicbor::{Decoder, Encoder};

use crate::model::NodeId;
use crate::registry::SeenPage;

/// Distinguishes our files from other redb files.
pub(super) const APP: &str = "hereabouts registry";
/// The format that this program writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;
/// The version with which a page of renewal times begins.
const PAGE_VERSION: u8 = 1;

type Written = Result<(), minicbor::encode::Error<Infallible>>;

pub(super) fn encode_meta(server: NodeId, out: &mut Vec<u8>) -> Written {
    Encoder::new(out)
        .array(3)?
        .str(APP)?
        .u32(FORMAT)?
        .bytes(&server.0)?
        .ok()
}

pub(super) fn encode_page(entries: &[u8], out: &mut Vec<u8>) -> Written {
    Encoder::new(out)
        .array(2)?
        .u8(PAGE_VERSION)?
        .bytes(entries)?
        .ok()
}

/// Decodes a page into its entries; `None` if it is no valid page.
pub(super) fn decode_page(bytes: &[u8]) -> Option<&[u8]> {
    let d = &mut Decoder::new(bytes);
    let known = d.array().ok()? == Some(2) && d.u8().ok()? == PAGE_VERSION;
    let entries = d.bytes().ok()?;
    (known && entries.len() == SeenPage::BYTES && d.position() == bytes.len()).then_some(entries)
}
