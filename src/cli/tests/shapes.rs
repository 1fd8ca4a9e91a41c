//! The shapes that programs read, and the status that people read, as snapshots.

use super::views::{TIME, announced, change, found, holder, interval, node, status};
use super::*;

#[test]
fn status_in_sections() {
    let mut stdout = Vec::new();
    crate::cli::status::print(
        &status(),
        TIME.plus(Duration::from_secs(300)),
        &mut Output::new(&mut stdout, None, true),
    )
    .unwrap();
    insta::assert_snapshot!(String::from_utf8(stdout).unwrap());
}

#[test]
fn json_shapes_are_stable() {
    let lines = [
        items([node("laptop", &["192.168.1.20"])]),
        items([interval(Some(TIME))]),
        items([holder(true)]),
        items([announced(None)]),
        items([status()]),
        items([change()]),
        refused(ErrorKind::NotServer),
    ];
    let values: Vec<serde_json::Value> = lines
        .iter()
        .flatten()
        .map(|response| serde_json::to_value(response).unwrap())
        .collect();
    for (response, value) in lines.iter().flatten().zip(&values) {
        assert_eq!(
            serde_json::from_value::<Response>(value.clone()).unwrap(),
            *response
        );
    }
    insta::assert_json_snapshot!("responses", values);
    insta::assert_json_snapshot!("found", found("hub"));
}

#[test]
fn where_prints_one_json_object() {
    let dir = TempDir::new().unwrap();
    let fake = FakeClient {
        nodes: vec![node("laptop", &["10.9.0.5"])],
        ..FakeClient::default()
    };
    let stdout = execute(&fake, dir.path(), "where laptop --output json").stdout;
    insta::assert_json_snapshot!(
        "where",
        serde_json::from_str::<serde_json::Value>(&stdout).unwrap()
    );
}

#[test]
fn requests_read_as_documented() {
    let requests = [
        Request::Status,
        Request::Health,
        Request::Nodes {
            labels: [("site".to_owned(), "home".to_owned())].into(),
            absent: false,
            after: None,
        },
        Request::Node {
            name: "laptop".parse().unwrap(),
            at: Some(TIME),
        },
        Request::Holder {
            address: "192.168.1.20".parse().unwrap(),
            at: None,
        },
        Request::History {
            name: "laptop".parse().unwrap(),
            after: None,
        },
        Request::Watch,
        Request::Forget {
            name: "laptop".parse().unwrap(),
        },
        Request::Announce,
        Request::Lookup {
            name: "laptop".parse().unwrap(),
        },
        Request::LookupHolder {
            address: "fd00::1".parse().unwrap(),
        },
    ];
    let lines: Vec<_> = requests
        .iter()
        .map(|request| serde_json::to_string(request).unwrap())
        .collect();
    for (request, line) in requests.iter().zip(&lines) {
        assert_eq!(serde_json::from_str::<Request>(line).unwrap(), *request);
    }
    insta::assert_snapshot!(lines.join("\n"));
}
