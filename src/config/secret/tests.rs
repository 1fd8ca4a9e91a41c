//! Which secret files are accepted, and that no message shows a secret.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn file(text: impl AsRef<[u8]>, mode: u32) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    (directory, path)
}

#[test]
fn key_file_may_have_comments_and_a_final_line_break() {
    let text = format!("# made on Monday\n\n{}\n", *encode_key(&[7; 32]));
    let (_directory, path) = file(text, 0o600);
    assert_eq!(
        KeySource::File(path).read().unwrap(),
        Secret::Key(Zeroizing::new([7; 32]))
    );
}

#[test]
fn passphrase_is_the_whole_first_line() {
    let (_directory, path) = file(" correct horse \nnot this", 0o400);
    let secret = KeySource::PassphraseFile(path).read().unwrap();
    assert_eq!(
        secret,
        Secret::Passphrase(Zeroizing::new(" correct horse ".into()))
    );
}

#[test]
fn token_is_the_first_line_and_fits_a_header() {
    let (_directory, path) = file(" s3cret.token== \r\nrest", 0o600);
    assert_eq!(read_token(&path).unwrap().as_str(), "s3cret.token==");
    for (text, part) in [
        ("\nx", "empty"),
        ("s3 cret", "begin with a token"),
        ("s3\rcret", "begin with a token"),
        ("sécret", "begin with a token"),
    ] {
        let (_directory, path) = file(text, 0o600);
        let message = read_token(&path).unwrap_err().to_string();
        assert!(
            message.contains(part) && !message.contains("cret\n") && !message.contains("s3"),
            "{message}"
        );
    }
    let (_directory, path) = file("s3cret", 0o644);
    assert!(matches!(read_token(&path), Err(SecretError::Mode { .. })));
}

#[test]
fn own_file_that_others_can_read_is_refused_with_its_remedy() {
    for mode in [0o640, 0o604, 0o644, 0o620, 0o602] {
        let (_directory, path) = file(encode_key(&[7; 32]).as_bytes(), mode);
        let message = KeySource::File(path.clone())
            .read()
            .unwrap_err()
            .to_string();
        assert!(
            message.ends_with(&format!("chmod 600 {}", path.display())),
            "{message}"
        );
    }
}

#[test]
fn wide_mode_is_accepted_only_if_it_cannot_be_changed() {
    let unused = || panic!("the mount is not checked");
    assert_eq!(excess_access(0o600, true, unused), None);
    assert_eq!(excess_access(0o644, false, unused), None);
    assert_eq!(excess_access(0o440, true, || false), None);
    assert_eq!(excess_access(0o440, true, || true), Some("read"));
    assert_eq!(excess_access(0o666, false, unused), Some("write"));
    assert_eq!(excess_access(0o620, true, unused), Some("write"));
}

#[test]
fn invalid_key_is_refused_without_showing_it() {
    let key = encode_key(&[7; 32]);
    for text in [
        "",
        "# only this\n",
        "c2hvcnQ=",
        "hunter2 hunter2 hunter2 hunter2 hunter2 hunt",
        &format!("{}\n{}", *key, *key),
    ] {
        let (_directory, path) = file(text, 0o600);
        let error = KeySource::File(path).read().unwrap_err();
        assert!(
            matches!(error, SecretError::Empty { .. } | SecretError::Key { .. }),
            "{error}"
        );
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[test]
fn long_file_and_directory_are_refused() {
    let (directory, path) = file([b'x'; 5000], 0o600);
    assert!(matches!(
        KeySource::File(path).read(),
        Err(SecretError::TooLong { .. })
    ));
    assert!(matches!(
        KeySource::File(directory.path().into()).read(),
        Err(SecretError::Kind { .. })
    ));
    assert!(matches!(
        KeySource::File(directory.path().join("none")).read(),
        Err(SecretError::Read { .. })
    ));
}

#[test]
fn file_of_another_user_is_refused_with_its_chown() {
    let path = PathBuf::from("/run/secrets/key");
    let uid = own_uid().unwrap();
    let denied = SecretError::Read {
        path: path.clone(),
        source: io::ErrorKind::PermissionDenied.into(),
    };
    assert!(
        denied
            .to_string()
            .ends_with(&format!("chown {uid} /run/secrets/key")),
        "{denied}"
    );
    let missing = SecretError::Read {
        path,
        source: io::ErrorKind::NotFound.into(),
    };
    assert!(!missing.to_string().contains("chown"), "{missing}");
}

#[test]
fn debug_shows_no_secret() {
    let secret = Secret::Passphrase(Zeroizing::new("hunter2".into()));
    assert_eq!(format!("{secret:?}"), "Passphrase(…)");
}

#[test]
fn every_unreadable_key_is_reported() {
    let missing = |name: &str| KeySource::File(PathBuf::from(name));
    let channel = ChannelConfig {
        keys: vec![missing("/none/a"), missing("/none/b")],
        ..ChannelConfig::default()
    };
    assert_eq!(channel.secrets().unwrap_err().len(), 2);
}
