use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp(1_795_200_000_123);

fn plain() -> Channel {
    Channel::new("fna349fn", None).unwrap()
}

fn secret() -> Channel {
    Channel::new("fna349fn", Some("secret")).unwrap()
}

fn info() -> Labels {
    Labels::new([("services", "10.0.0.1")]).unwrap()
}

fn checked(channel: &Channel, query: &[u8]) -> Result<(), Refusal> {
    channel.check(&mut query.to_vec(), NOW)
}

#[test]
fn datagrams_in_the_clear_have_their_bytes() {
    assert_eq!(plain().query(NOW), b"fna349fn1795200000.123000");
    assert_eq!(
        plain().answer(&info()),
        br#"fna349fn#OK#{"services": "10.0.0.1"}"#
    );
    assert_eq!(
        plain().refusal(Refusal::Channel),
        b"fna349fn#ERROR#Invalid MAGIC or Password"
    );
    assert_eq!(
        plain().refusal(Refusal::Timestamp),
        b"fna349fn#ERROR#Invalid timestamp"
    );
    assert_eq!(
        plain().refusal(Refusal::TooOld),
        b"fna349fn#ERROR#Timestamp is too old"
    );
}

#[test]
fn datagrams_under_a_password_have_their_bytes() {
    // openssl enc -aes-256-ctr -K (secret and 26 zeros, as ASCII) -iv
    // 00000000000000000000000000000001
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let mut query = b"fna349fn1795200000.123".to_vec();
    secret().crypt(&mut query);
    assert_eq!(hex(&query), "23a6b6ddd485d012be328c133210826a921c500b9d43");
    assert_eq!(
        hex(&secret().answer(&info())),
        "23a6b6ddd485d012ac4afe057b02c13fd05a1759ca03bb04ddef6df811529606b38287c9"
    );
    assert_eq!(
        secret().refusal(Refusal::Channel),
        plain().refusal(Refusal::Channel),
        "in the clear, as by the original server"
    );
    assert_ne!(
        secret().refusal(Refusal::TooOld),
        plain().refusal(Refusal::TooOld)
    );
}

#[test]
fn password_is_cut_or_padded_to_32_characters() {
    let crypted = |password: &str| Channel::new("m", Some(password)).unwrap().query(NOW);
    assert_eq!(
        crypted("secret"),
        crypted("secret00000000000000000000000000")
    );
    assert_eq!(crypted(&"x".repeat(32)), crypted(&"x".repeat(40)));
    assert_ne!(crypted("secret"), crypted("Secret"));
    assert_eq!(crypted(""), Channel::new("m", None).unwrap().query(NOW));
    assert_eq!(
        Channel::new("m", Some("pässword")).unwrap_err(),
        PasswordError
    );
    assert!(!format!("{:?}", secret()).contains("secret"));
}

#[test]
fn query_is_valid_for_20_seconds() {
    let at = |time: &str| checked(&plain(), format!("fna349fn{time}").as_bytes());
    assert_eq!(at("1795200000.123"), Ok(()));
    assert_eq!(at("1795199980.124"), Ok(()));
    assert_eq!(at("1795199980.122"), Err(Refusal::TooOld));
    assert_eq!(at("0"), Err(Refusal::TooOld));
    assert_eq!(
        at("1795200100"),
        Ok(()),
        "from the future, as the original server answered"
    );
    let long = "1".repeat(33);
    for text in [
        "",
        "now",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "0x10",
        "\u{661}",
        "1795200000.123#",
        &long,
    ] {
        assert_eq!(at(text), Err(Refusal::Timestamp), "{text:?}");
    }
}

#[test]
fn queries_of_other_channels_and_passwords_are_refused() {
    let query = secret().query(NOW);
    assert_eq!(checked(&secret(), &query), Ok(()));
    for channel in [
        plain(),
        Channel::new("fna349fn", Some("other")).unwrap(),
        Channel::new("other", None).unwrap(),
    ] {
        assert_eq!(checked(&channel, &query), Err(Refusal::Channel));
    }
    assert_eq!(
        checked(&secret(), &plain().query(NOW)),
        Err(Refusal::Channel)
    );
    for noise in [&b""[..], b"fna", &[0xff; 1200]] {
        assert_eq!(checked(&plain(), noise), Err(Refusal::Channel));
    }
}

#[test]
fn answers_are_read_with_and_without_password() {
    for channel in [plain(), secret()] {
        let read = |bytes: Vec<u8>| channel.read(&mut bytes.clone());
        let pairs = BTreeMap::from([("services".to_owned(), "10.0.0.1".to_owned())]);
        assert_eq!(read(channel.answer(&info())), Ok(Answer::Info(pairs)));
        for refusal in [Refusal::Channel, Refusal::Timestamp, Refusal::TooOld] {
            assert_eq!(
                read(channel.refusal(refusal)),
                Ok(Answer::Refused(refusal.text().into()))
            );
        }
    }
    let read = |text: &str| plain().read(&mut text.as_bytes().to_vec());
    assert_eq!(read("other#OK#{}"), Err(AnswerError::OtherChannel));
    for text in [
        "fna349fn",
        "fna349fn#OK#",
        "fna349fn#OK#[1]",
        "fna349fn#OK#{\"a\":",
        "fna349fn#NO#{}",
    ] {
        assert_eq!(read(text), Err(AnswerError::Malformed), "{text}");
    }
    let odd = read("fna349fn#OK#{\"a\": 1, \"b\": \"\\u001b[31m\"}").unwrap();
    let expected =
        [("a", "1"), ("b", "\u{fffd}[31m")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(odd, Answer::Info(expected.into()));
}

#[test]
fn json_is_as_python_writes_it() {
    let labels = Labels::new([("b", "caf\u{e9} \"\\\u{1f600}"), ("a", "")]).unwrap();
    let text = json(&labels);
    assert_eq!(text, r#"{"a": "", "b": "caf\u00e9 \"\\\ud83d\ude00"}"#);
    let back: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    assert_eq!(back["b"], "caf\u{e9} \"\\\u{1f600}");
}

#[test]
fn longest_ascii_info_fits_what_a_client_receives() {
    let pairs = (0..16).map(|i| (format!("{i:02}{}", "k".repeat(6)), "v".repeat(8)));
    let answer = Channel::new(&"m".repeat(64), None)
        .unwrap()
        .answer(&Labels::new(pairs).unwrap());
    assert!(answer.len() <= MAX_ANSWER, "{}", answer.len());
}

proptest! {
    #[test]
    fn decode_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), prefixed: bool, password: bool) {
        let channel = if password { secret() } else { plain() };
        let mut bytes = if prefixed { [b"fna349fn#OK#".as_slice(), &bytes].concat() } else { bytes };
        let _ = channel.check(&mut bytes.clone(), NOW);
        let _ = channel.read(&mut bytes);
    }

    #[test]
    fn answer_roundtrip(value in "[^\\pC]{0,60}") {
        let labels = Labels::new([("key", value.as_str())]).unwrap();
        for channel in [plain(), secret()] {
            let pairs = BTreeMap::from([("key".to_owned(), value.clone())]);
            prop_assert_eq!(channel.read(&mut channel.answer(&labels)), Ok(Answer::Info(pairs)));
        }
    }
}
