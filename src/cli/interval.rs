//! The end of an interval of the history, as people read it.

use std::net::IpAddr;

use super::exit::note;
use super::time;
use crate::model::{NodeName, Timestamp};

/// The end in a table: `still`, a time, or the two times between which it is.
pub(super) fn end(to: Option<Timestamp>, lost_by: Option<Timestamp>) -> String {
    match (to, lost_by) {
        (None, _) => "still".to_owned(),
        (Some(to), None) => time::local(to),
        (Some(to), Some(lost_by)) => {
            format!("{}, lost by {}", time::local(to), time::local(lost_by))
        }
    }
}

/// Notes on stderr that a node only probably had an address at the time in question.
pub(super) fn note_probable(
    name: &NodeName,
    address: IpAddr,
    to: Option<Timestamp>,
    lost_by: Option<Timestamp>,
) {
    if let (Some(to), Some(lost_by)) = (to, lost_by) {
        note(format_args!(
            "note: {name} probably had {address}: it was last received at {}, and was lost by {}",
            time::local(to),
            time::local(lost_by)
        ));
    }
}
