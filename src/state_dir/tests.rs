use std::os::unix::fs::PermissionsExt;

use super::*;

fn state() -> (tempfile::TempDir, StateDir) {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::open(&directory.path().join("deep/state")).unwrap();
    (directory, state)
}

#[test]
fn identity_and_channel_key_stay_the_same_and_are_closed_to_others() {
    let (_directory, state) = state();
    assert_eq!(
        state.identity().unwrap().id(),
        state.identity().unwrap().id()
    );
    let (key, made) = state.channel_key().unwrap();
    assert!(made);
    assert_eq!(state.channel_key().unwrap(), (key, false));
    for name in ["identity.key", "channel.key"] {
        let path = state.path().join(name);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    }
    assert!(matches!(state.identity(), Err(StateError::Open { .. })));
    assert!(matches!(state.channel_key(), Err(StateError::Open { .. })));
}

#[test]
fn epochs_grow_with_every_start_and_survive_a_lost_count() {
    let (_directory, state) = state();
    let clock = Timestamp(1_700_000_000_000);
    assert_eq!(state.next_epoch(clock, true).unwrap(), 1);
    assert_eq!(state.next_epoch(clock, false).unwrap(), 2);
    state.set_epoch(40).unwrap();
    assert_eq!(state.next_epoch(clock, false).unwrap(), 41);
    fs::remove_file(state.path().join("epoch")).unwrap();
    assert_eq!(state.next_epoch(clock, false).unwrap(), 1_700_000_001);
}

#[test]
fn second_node_in_the_same_directory_gets_an_error() {
    let (_directory, state) = state();
    let lock = state.lock().unwrap();
    let error = StateDir::open(state.path()).unwrap().lock().unwrap_err();
    assert!(matches!(error, StateError::InUse { .. }), "{error}");
    drop(lock);
    state.lock().unwrap();
}

#[test]
fn damaged_files_are_refused_and_left_as_they_are() {
    let (_directory, state) = state();
    state.identity().unwrap();
    fs::write(state.path().join("identity.key"), "nonsense").unwrap();
    fs::write(state.path().join("epoch"), "x").unwrap();
    assert!(matches!(state.identity(), Err(StateError::Content { .. })));
    assert!(matches!(
        state.next_epoch(Timestamp(0), false),
        Err(StateError::Content { .. })
    ));
    assert_eq!(
        fs::read_to_string(state.path().join("identity.key")).unwrap(),
        "nonsense"
    );
}

#[test]
fn error_of_a_directory_that_can_not_be_made_names_the_remedy() {
    let (directory, _state) = state();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = StateDir::open(&file.join("state")).unwrap_err().to_string();
    assert!(
        error.contains("Move away the file") && error.contains("node.state_dir"),
        "{error}"
    );
}

#[test]
fn every_error_names_its_own_remedy() {
    let path = PathBuf::from("/var/lib/hereabouts");
    let message = |kind: io::ErrorKind| {
        StateError::Directory {
            path: path.clone(),
            uid: 65532,
            source: kind.into(),
        }
        .to_string()
    };
    let denied = message(io::ErrorKind::PermissionDenied);
    assert!(
        denied.contains("chown -R 65532 /var/lib/hereabouts") && denied.contains("volume"),
        "{denied}"
    );
    let read_only = message(io::ErrorKind::ReadOnlyFilesystem);
    assert!(
        read_only.contains("not read-only") && !read_only.contains("chown"),
        "{read_only}"
    );
    let foreign =
        StateError::file(&path.join("epoch"), io::ErrorKind::PermissionDenied.into()).to_string();
    assert!(
        foreign.contains("epoch") && foreign.contains("chown -R"),
        "{foreign}"
    );
    let other =
        StateError::file(&path.join("epoch"), io::ErrorKind::StorageFull.into()).to_string();
    assert!(!other.contains("chown"), "{other}");
}
