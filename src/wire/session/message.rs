//! The messages of a session as types; [`super::codec`] has their bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::NodeId;
use crate::wire::identity::{self, Identity, IdentityError};
use crate::wire::v1::Notice;

const INTRODUCTION_CONTEXT: &[u8] = b"hereabouts/1 introduction";

/// A request of a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A request about the registry, as a text of at most [`super::MAX_TEXT`] bytes that
    /// `crate::api::session` reads: answered by [`Answer::Item`]s.
    Registry(Box<str>),
    /// The files that the server offers: answered by [`Answer::Offer`]s.
    Offers,
    /// A file: answered by [`Answer::File`], then by [`Answer::Content`]s.
    Pull {
        /// The name of the offer.
        name: Box<str>,
        /// Where to continue, in bytes, if the file still has `digest`; otherwise the content
        /// begins at 0.
        offset: u64,
        /// The digest of the file that the caller holds a part of.
        digest: Option<[u8; 32]>,
    },
    /// The caller says which node it is: answered by [`Answer::End`].
    Introduce {
        /// The caller.
        node: NodeId,
        /// Ed25519 over "hereabouts/1 introduction" and the hash of the handshake.
        signature: [u8; 64],
    },
    /// A caller that introduced itself says what it holds of an offer: answered by [`Answer::End`].
    Report(Report),
}

impl Request {
    /// Introduces a node on the session whose handshake has this hash.
    pub fn introduce(identity: &Identity, binding: &[u8; 32]) -> Self {
        let signature = identity.sign(&introduction(binding));
        Self::Introduce {
            node: identity.id(),
            signature,
        }
    }
}

/// Checks that a node introduced itself on the session whose handshake has this hash.
pub fn verify_introduction(
    node: &NodeId,
    signature: &[u8; 64],
    binding: &[u8; 32],
) -> Result<(), IdentityError> {
    identity::verify(node, &introduction(binding), signature)
}

fn introduction(binding: &[u8; 32]) -> Vec<u8> {
    [INTRODUCTION_CONTEXT, binding].concat()
}

/// What a node holds of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The name of the offer.
    pub name: Box<str>,
    /// The generation held; 0 if none.
    pub generation: u64,
    /// Why the last attempt to get a newer one failed, at most [`Report::MAX_ERROR`] bytes; `None`
    /// if it did not.
    pub error: Option<Box<str>>,
    /// The generation that the attempt was about; `None` if none was offered, or if the node does
    /// not report it.
    pub attempted: Option<u64>,
    /// Whether the node tries again within seconds, so that the error is not final.
    pub again: bool,
}

impl Report {
    /// Limit of an error, in bytes.
    pub const MAX_ERROR: usize = 240;
}

/// One message of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'b> {
    /// One item of an answer about the registry, as a text of at most [`super::MAX_TEXT`] bytes
    /// that `crate::api::session` reads.
    Item(&'b str),
    /// A file that the server offers, signed for the key of the session.
    Offer(Notice),
    /// The file whose content follows.
    File {
        /// The file, signed for the key of the session.
        notice: Notice,
        /// Where the content begins, in bytes.
        offset: u64,
    },
    /// The next bytes of the file, at most [`super::MAX_CONTENT`].
    Content(&'b [u8]),
    /// The answer goes on: sent when nothing else was sent for a while.
    Alive,
    /// The answer is complete.
    End,
    /// The request failed; the items before may be incomplete.
    Failed {
        /// What the caller can do about it.
        kind: ErrorKind,
        /// What went wrong, at most [`Answer::MAX_FAILURE`] bytes.
        message: Box<str>,
    },
}

impl Answer<'_> {
    /// Limit of the message of a failure, in bytes.
    pub const MAX_FAILURE: usize = 512;
}

/// What a caller can do about an error: on a session, on the control socket and in an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Nothing fits the request: request something else.
    NotFound,
    /// This node keeps no registry: query a server, or the network.
    NotServer,
    /// The request can't be read, or this version does not know it: a bug in the caller, or another
    /// version.
    BadRequest,
    /// There are too many connections, or the node stops: try again.
    Busy,
    /// The node failed: its log says why.
    Failed,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotFound => "not found",
            Self::NotServer => "not a server",
            Self::BadRequest => "bad request",
            Self::Busy => "busy",
            Self::Failed => "failed",
        })
    }
}
