use super::*;

#[test]
fn keys_are_stable() {
    // Computed with Python: hkdf of `cryptography`, see below for the passphrase.
    let key_ring = KeyRing::new("home", &[Secret::key([1; 32])]).unwrap();
    assert_eq!(
        data_encoding::HEXLOWER.encode(&*key_ring.first().bytes),
        "ed7fb56c735ac8db1416349e4e0a4e5b519a5996acdd0af6be8e6d1968280f81"
    );
    assert_eq!(key_ring.first().id().to_string(), "05bee03f");
    assert_eq!(key_ring.hint_keys()[0].id().to_string(), "23346e5e");
}

#[test]
fn passphrase_derivation_is_stable() {
    // Computed with Python: hashlib.sha256, argon2 of `cryptography`, hkdf.
    let key_ring = KeyRing::new(
        "home",
        &[Secret::passphrase("correct horse battery staple")],
    )
    .unwrap();
    assert_eq!(
        data_encoding::HEXLOWER.encode(&*key_ring.first().bytes),
        "219e4f845d4611aee2c94f86f47cd088f9d99056b5fedd9955b50a1b762103a4"
    );
    assert!(key_ring.hint_keys().is_empty());
}

#[test]
fn one_secret_on_two_channels_gives_unrelated_keys() {
    for secret in [Secret::key([1; 32]), Secret::passphrase("secret")] {
        let secrets = [secret];
        let (home, work) = (
            KeyRing::new("home", &secrets).unwrap(),
            KeyRing::new("work", &secrets).unwrap(),
        );
        assert_ne!(home.first().bytes, work.first().bytes);
        assert_ne!(home.first().id(), work.first().id());
    }
}

#[test]
fn ambiguous_key_rings_are_refused() {
    let error = |channel: &str, secrets: &[Secret]| KeyRing::new(channel, secrets).unwrap_err();
    let key = |byte| Secret::key([byte; 32]);
    assert_eq!(error("home", &[]), KeyRingError::Count { count: 0 });
    let nine: Vec<_> = (0..9).map(key).collect();
    assert_eq!(error("home", &nine), KeyRingError::Count { count: 9 });
    assert_eq!(
        error("home", &[key(1), key(2), key(1)]),
        KeyRingError::Duplicate {
            first: 1,
            second: 3
        }
    );
    assert_eq!(error("", &[key(1)]), KeyRingError::Channel);
    assert_eq!(error("a\nb", &[key(1)]), KeyRingError::Channel);
    assert_eq!(error(&"x".repeat(65), &[key(1)]), KeyRingError::Channel);
    let empty = Secret::passphrase("");
    assert_eq!(
        error("home", &[key(1), empty]),
        KeyRingError::Passphrase {
            position: 2,
            length: 0
        }
    );
}

#[test]
fn colliding_key_ids_are_refused() {
    let one = ChannelKey::new(Zeroizing::new([1; 32]));
    let mut two = ChannelKey::new(Zeroizing::new([2; 32]));
    two.id = one.id;
    let collision = Err(KeyRingError::Collision {
        first: 1,
        second: 2,
    });
    assert_eq!(
        refuse_same(&[(one.clone(), None), (two.clone(), None)]),
        collision
    );
    let three = ChannelKey::new(Zeroizing::new([3; 32]));
    assert_eq!(refuse_same(&[(one, None), (three, Some(two))]), collision);
}

#[test]
fn debug_forms_show_no_secret() {
    let secrets = [Secret::key([7; 32]), Secret::passphrase("hush")];
    let key_ring = KeyRing::new("home", &secrets).unwrap();
    let text = format!("{secrets:?} {key_ring:?}");
    assert!(!text.contains("hush") && !text.contains("7, 7"), "{text}");
    assert!(
        text.contains(&format!("ChannelKey({})", key_ring.first().id())),
        "{text}"
    );
}
