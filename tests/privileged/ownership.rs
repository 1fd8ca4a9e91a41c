//! The owner of a pulled file, and the error where that owner or the directory is not allowed.
//!
//! Needs root, and makes threads of its own into an ordinary user.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use hereabouts::files::incoming::Incoming;
use hereabouts::files::target::{Target, TargetError};
use rustix::fs::{Gid, Uid};
use tempfile::TempDir;

/// A user that no machine has, and two groups of it.
const USER: u32 = 54321;
const GROUP: u32 = 54322;
const OTHER_GROUP: u32 = 54323;

/// A directory that everybody can reach, and the path of a file in it.
fn directory() -> (TempDir, PathBuf) {
    crate::needs::root();
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    let path = directory.path().join("file");
    (directory, path)
}

/// Does something as a user without any capability, who is in these groups.
fn as_user<T: Send>(groups: &[u32], work: impl FnOnce() -> T + Send) -> T {
    let groups: Vec<_> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let (uid, gid) = (Uid::from_raw(USER), Gid::from_raw(GROUP));
            rustix::thread::set_thread_groups(&groups).unwrap();
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

fn pull(path: &Path, mode: u32, owner: Option<&str>, content: &[u8]) -> Result<(), TargetError> {
    let target = Target::open(path, mode)?.owned_by(owner.map(|owner| owner.parse().unwrap()));
    let mut part = target.part(content.len() as u64, &blake3::hash(content).into())?;
    part.write(&content[usize::try_from(part.held()).unwrap()..])?;
    part.commit()
}

fn owner(path: &Path) -> (u32, u32, u32) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
}

fn count(directory: &TempDir) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn a_pulled_file_belongs_to_the_owner_that_the_configuration_names() {
    let (directory, path) = directory();
    pull(&path, 0o640, Some("54321:54322"), b"one").unwrap();
    assert_eq!(owner(&path), (USER, GROUP, 0o640));
    // By names, and what is not named stays.
    pull(&path, 0o600, Some("root"), b"two").unwrap();
    assert_eq!(owner(&path), (0, GROUP, 0o600));
    pull(&path, 0o604, Some(":root"), b"three").unwrap();
    assert_eq!(owner(&path), (0, 0, 0o604));
    assert_eq!(
        (fs::read(&path).unwrap().as_slice(), count(&directory)),
        (&b"three"[..], 1)
    );
}

#[test]
fn a_file_keeps_its_owner_where_none_is_configured() {
    let (_directory, path) = directory();
    pull(&path, 0o644, None, b"one").unwrap();
    assert_eq!(owner(&path), (0, 0, 0o644));
    chown(&path, Some(USER), Some(GROUP)).unwrap();
    pull(&path, 0o644, None, b"two").unwrap();
    assert_eq!(owner(&path), (USER, GROUP, 0o644));
    // A user that may not give files away still sets what it may: a group it is in.
    chown(&path, Some(0), Some(OTHER_GROUP)).unwrap();
    as_user(&[OTHER_GROUP], || pull(&path, 0o644, None, b"three")).unwrap();
    assert_eq!(owner(&path), (USER, OTHER_GROUP, 0o644));
    chown(&path, Some(0), Some(0)).unwrap();
    as_user(&[], || pull(&path, 0o644, None, b"four")).unwrap();
    assert_eq!(
        (owner(&path), fs::read(&path).unwrap().as_slice()),
        ((USER, GROUP, 0o644), &b"four"[..])
    );
}

#[test]
fn an_old_bases_file_gets_the_same_owner() {
    let (_directory, path) = directory();
    let take = |mode, owner: &str| {
        let target = Target::open(&path, mode)
            .unwrap()
            .owned_by(Some(owner.parse().unwrap()));
        let mut incoming = Incoming::begin(target, 100).unwrap();
        incoming.write(b"content").unwrap();
        incoming.commit().unwrap()
    };
    assert!(take(0o644, "54321:54322"));
    assert_eq!(owner(&path), (USER, GROUP, 0o644));
    assert!(!take(0o600, "54321:54323"), "the same content again");
    assert_eq!(owner(&path), (USER, OTHER_GROUP, 0o600));
}

#[test]
fn an_owner_that_is_not_allowed_leaves_the_old_file_and_the_error_names_the_needed_right() {
    let (directory, path) = directory();
    fs::write(&path, "old").unwrap();
    let before = owner(&path);
    let user = as_user(&[], || pull(&path, 0o644, Some("root"), b"new")).unwrap_err();
    assert!(
        matches!(
            user,
            TargetError::Owner {
                what: "user",
                id: 0,
                uid: USER,
                ..
            }
        ),
        "{user}"
    );
    assert!(
        user.to_string().contains("CAP_CHOWN") && user.to_string().contains("root (0)"),
        "{user}"
    );
    let group = as_user(&[], || pull(&path, 0o644, Some(":54323"), b"new"))
        .unwrap_err()
        .to_string();
    assert!(
        group.contains("CAP_CHOWN") && group.contains("member of the group"),
        "{group}"
    );
    assert_eq!(
        (
            fs::read(&path).unwrap().as_slice(),
            owner(&path),
            count(&directory)
        ),
        (&b"old"[..], before, 1)
    );
    // A member of the group may, and one's own name changes nothing.
    as_user(&[OTHER_GROUP], || {
        pull(&path, 0o640, Some("54321:54323"), b"new")
    })
    .unwrap();
    assert_eq!(owner(&path), (USER, OTHER_GROUP, 0o640));
}

#[test]
fn an_owner_that_does_not_exist_is_named_before_anything_is_pulled() {
    let (directory, path) = directory();
    fs::write(&path, "old").unwrap();
    for (owner, text) in [
        ("no-such-user-54", "/etc/passwd has no user"),
        (":no-such-group-54", "/etc/group has no group"),
    ] {
        let target = Target::open(&path, 0o644)
            .unwrap()
            .owned_by(Some(owner.parse().unwrap()));
        let error = target.part(1 << 20, &[1; 32]).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
    assert_eq!(
        (fs::read(&path).unwrap().as_slice(), count(&directory)),
        (&b"old"[..], 1)
    );
}

#[test]
fn a_pull_into_a_file_of_another_owner_still_resumes_where_it_stopped() {
    let (_directory, path) = directory();
    let target = Target::open(&path, 0o600)
        .unwrap()
        .owned_by(Some("54321:54322".parse().unwrap()));
    let digest = blake3::hash(b"content").into();
    target.part(7, &digest).unwrap().write(b"cont").unwrap();
    let part = target.part(7, &digest).unwrap();
    assert_eq!(part.held(), 4);
    drop(part);
    pull(&path, 0o600, Some("54321:54322"), b"content").unwrap();
    assert_eq!(owner(&path), (USER, GROUP, 0o600));
}

#[test]
fn a_directory_that_may_not_be_written_is_reported_with_its_remedy() {
    let (directory, path) = directory();
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let error = as_user(&[], || pull(&path, 0o644, None, b"new")).unwrap_err();
    assert!(
        matches!(error, TargetError::Denied { uid: USER, .. }),
        "{error}"
    );
    let remedy = format!("chown {USER} {}", directory.path().display());
    assert!(error.to_string().ends_with(&remedy), "{error}");
    let target = as_user(&[], || {
        Incoming::begin(Target::open(&path, 0o644)?, 100).map(drop)
    });
    assert!(target.unwrap_err().to_string().ends_with(&remedy));
    assert_eq!(
        (fs::read(&path).unwrap().as_slice(), count(&directory)),
        (&b"old"[..], 1)
    );
    // A file that is there and can't be read may be replaced all the same, where the directory allows it.
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(
        as_user(&[], || Target::open(&path, 0o644)
            .unwrap()
            .digest(3)
            .unwrap()),
        None
    );
    as_user(&[], || pull(&path, 0o644, None, b"new")).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[test]
fn a_part_that_another_user_made_is_not_resumed_even_by_root() {
    let (directory, path) = directory();
    let digest: [u8; 32] = blake3::hash(b"content").into();
    let part = directory.path().join(format!(
        ".file.{}.part",
        data_encoding::HEXLOWER.encode(&digest[..8])
    ));
    // Its maker keeps it open for writing.
    let mut maker = as_user(&[], || fs::File::create(&part).unwrap());
    maker.write_all(b"cont").unwrap();
    assert_eq!(
        Target::open(&path, 0o644)
            .unwrap()
            .part(7, &digest)
            .unwrap()
            .held(),
        0
    );
    fs::remove_file(&part).unwrap();
    let mut maker = as_user(&[], || fs::File::create(&part).unwrap());
    maker.write_all(b"cont").unwrap();
    pull(&path, 0o644, None, b"content").unwrap();
    maker.write_all(b"tent, or what its maker likes").unwrap();
    assert_eq!(
        (
            fs::read(&path).unwrap().as_slice(),
            owner(&path),
            count(&directory)
        ),
        (&b"content"[..], (0, 0, 0o644), 1)
    );
}

#[test]
fn a_file_that_has_the_content_already_gets_its_owner_where_that_is_allowed() {
    let (_directory, path) = directory();
    let keep = |owner: Option<&str>, mode| {
        let target = Target::open(&path, mode)
            .unwrap()
            .owned_by(owner.map(|owner| owner.parse().unwrap()));
        target.keep(7, &blake3::hash(b"content").into()).unwrap()
    };
    fs::write(&path, "content").unwrap();
    assert!(keep(Some("54321:54322"), 0o640));
    assert_eq!(owner(&path), (USER, GROUP, 0o640));
    assert!(keep(None, 0o604), "what is not named stays");
    assert_eq!(owner(&path), (USER, GROUP, 0o604));
    // A user that may not change them gets `false`, and pulls; what is as it should be already needs no right.
    chown(&path, Some(0), Some(0)).unwrap();
    assert!(!as_user(&[], || keep(None, 0o600)));
    assert!(!as_user(&[], || keep(Some("54321"), 0o604)));
    assert!(as_user(&[], || keep(None, 0o604)));
    assert_eq!(owner(&path), (0, 0, 0o604));
}

#[test]
fn a_part_of_another_user_is_replaced_and_not_written() {
    let (directory, path) = directory();
    let digest: [u8; 32] = blake3::hash(b"content").into();
    let part = format!(
        ".file.{}.part",
        data_encoding::HEXLOWER.encode(&digest[..8])
    );
    fs::write(directory.path().join(&part), "cont").unwrap();
    fs::set_permissions(
        directory.path().join(&part),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    as_user(&[], || pull(&path, 0o644, None, b"content")).unwrap();
    assert_eq!(
        (fs::read(&path).unwrap().as_slice(), count(&directory)),
        (&b"content"[..], 1)
    );
}
