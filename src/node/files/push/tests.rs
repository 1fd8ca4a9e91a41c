use tokio::sync::mpsc;

use super::*;
use crate::api::request::Request;

const NODE: NodeId = NodeId([1; 32]);

/// A push of generation 5 to one node, and the receiver of its progress.
fn push() -> (Pushes, mpsc::Receiver<Response>) {
    let (reply, progress) = mpsc::channel(16);
    let request = Request::Push {
        name: "a".into(),
        to: Vec::new(),
        timeout_ms: 1000,
    };
    let push = Push {
        call: Call { request, reply },
        name: "a".into(),
        generation: 5,
        size: 10,
        waiting: vec![Waiting {
            id: NODE,
            name: "kiosk".parse().unwrap(),
            last_error: None,
        }],
        last: VecDeque::new(),
        deadline: Duration::from_secs(1),
    };
    (
        Pushes {
            running: vec![push],
            ..Pushes::default()
        },
        progress,
    )
}

fn report(generation: u64, error: Option<&str>, attempted: Option<u64>, again: bool) -> Report {
    Report {
        name: "a".into(),
        generation,
        error: error.map(Into::into),
        attempted,
        again,
    }
}

/// The end of a push for its node after these reports, if it ends.
fn ended(reports: &[Report]) -> Option<(Progress, u64, Option<String>)> {
    let (mut pushes, mut progress) = push();
    reports
        .iter()
        .for_each(|report| pushes.on_report(&NODE, report));
    pushes.advance(Duration::ZERO);
    match progress.try_recv().ok()? {
        Response::Item {
            item: Item::Pushed(view),
        } => Some((view.state, view.generation, view.error)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn node_is_done_when_it_holds_the_generation_and_failed_when_that_failed_for_good() {
    assert_eq!(ended(&[report(4, None, Some(4), false)]), None);
    assert_eq!(
        ended(&[report(5, None, Some(5), false)]),
        Some((Progress::Done, 5, None))
    );
    assert_eq!(
        ended(&[report(6, None, Some(6), false)]),
        Some((Progress::Done, 5, None))
    );
    let failed = |generation| Some((Progress::Failed, generation, Some("full".to_owned())));
    assert_eq!(ended(&[report(4, Some("full"), Some(5), false)]), failed(4));
    assert_eq!(
        ended(&[report(4, Some("full"), None, false)]),
        failed(4),
        "an older node reports no more than this"
    );
    assert_eq!(
        ended(&[report(5, Some("full"), Some(5), false)]),
        failed(5),
        "the action after the pull failed"
    );
    assert_eq!(
        ended(&[report(9, Some("full"), Some(5), false)]),
        failed(5),
        "it holds a later generation"
    );
    assert_eq!(
        ended(&[report(5, Some("full"), Some(6), false)]),
        Some((Progress::Done, 5, None))
    );
}

#[test]
fn push_waits_while_a_node_retries_and_for_a_visit_that_began_after_it() {
    let broken = report(4, Some("the line broke"), Some(5), true);
    assert_eq!(ended(std::slice::from_ref(&broken)), None);
    let earlier = report(4, Some("the action after the pull failed"), Some(4), false);
    assert_eq!(ended(std::slice::from_ref(&earlier)), None);
    let done = report(5, None, Some(5), false);
    assert_eq!(
        ended(&[earlier, broken.clone(), done]),
        Some((Progress::Done, 5, None))
    );
    // When the time of the push is over, its last line has the node's error.
    let (mut pushes, mut progress) = push();
    pushes.on_report(&NODE, &broken);
    pushes.advance(Duration::from_secs(1));
    let Some(Response::Item {
        item: Item::Pushed(view),
    }) = progress.try_recv().ok()
    else {
        panic!()
    };
    assert_eq!(view.state, Progress::Failed);
    assert!(view.error.unwrap().ends_with("the line broke"));
}
