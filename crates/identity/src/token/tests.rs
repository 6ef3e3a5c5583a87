//! Tokens that are good, and all the ways in which they are not.

use super::*;
use crate::testing::{HOUR, now};

fn make(host: &str, uses: u32) -> (Token, TokenRecord) {
    let controller = "https://controller.example:6443".parse().unwrap();
    let ca = Fingerprint::of(b"ca");
    Token::new(controller, ca, host.parse().unwrap(), uses, HOUR, now()).unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[test]
fn a_token_comes_back_from_its_text_and_its_record_from_the_store() {
    let (token, record) = make("rack1-*", 3);
    let text = token.reveal();
    assert!(text.starts_with("mizar1."));
    assert_eq!(text.parse::<Token>().unwrap(), token);
    assert_eq!(format!(" {}\n", *text).parse::<Token>().unwrap(), token);
    let stored = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<TokenRecord>(&stored).unwrap(), record);
}

#[test]
fn neither_the_record_nor_what_is_printed_for_debugging_tells_the_secret() {
    let (token, record) = make("h1", 1);
    let secret = token.secret.reveal();
    let shown = format!("{token:?} {record:?} {}", serde_json::to_string(&record).unwrap());
    assert!(!shown.contains(&*secret));
    let hash = Fingerprint::of(secret.as_bytes());
    assert_ne!(record.secret, hash, "the hash is that of the bytes");
}

#[test]
fn the_right_host_joins_once_and_no_replay_does() {
    let (token, record) = make("h1", 1);
    token.check(&name("h1"), now()).unwrap();
    let spent = record.spend(&token.secret, &name("h1"), now()).unwrap();
    assert_eq!(spent.uses_left, 0);
    assert_eq!(spent.spend(&token.secret, &name("h1"), now()), Err(Refusal::UsedUp));
    assert_eq!(spent.check(&token.secret, &name("h1"), now()), Err(Refusal::UsedUp));
}

#[test]
fn another_host_and_a_late_one_are_refused_with_the_reason() {
    let (token, record) = make("rack1-*", 3);
    let wrong = record.check(&token.secret, &name("rack2-h1"), now()).unwrap_err();
    assert_eq!(wrong.to_string(), "host rack2-h1 may not join with this token: it is for rack1-*");
    assert_eq!(token.check(&name("rack2-h1"), now()), Err(wrong));
    let late = record.check(&token.secret, &name("rack1-h1"), now() + HOUR);
    assert!(matches!(late, Err(Refusal::Expired(_))), "{late:?}");
    assert!(record.check(&token.secret, &name("rack1-h1"), now() + HOUR / 2).is_ok());
}

#[test]
fn who_does_not_know_the_secret_learns_nothing_else() {
    let (_, record) = make("h1", 0);
    let (other, _) = make("h1", 1);
    for host in ["h1", "h2"] {
        for at in [now(), now() + 9 * HOUR] {
            assert_eq!(record.check(&other.secret, &name(host), at), Err(Refusal::Secret));
        }
    }
}

#[test]
fn a_damaged_token_is_recognised_before_anybody_is_asked() {
    let (token, _) = make("h1", 1);
    let text = token.reveal();
    for at in [8, 40, text.len() / 2, text.len() - 2] {
        let other = if &text[at..=at] == "A" { "B" } else { "A" };
        let altered = format!("{}{other}{}", &text[..at], &text[at + 1..]);
        assert_eq!(altered.parse::<Token>(), Err(TokenError::Damaged), "at {at}");
    }
    for cut in [0, 1, 6] {
        assert_eq!(text[..cut].parse::<Token>(), Err(TokenError::Prefix));
    }
    for cut in [7, 9, 20, text.len() - 1] {
        assert_eq!(text[..cut].parse::<Token>(), Err(TokenError::Damaged), "cut to {cut}");
    }
    assert_eq!(format!("{}A", *text).parse::<Token>(), Err(TokenError::Damaged));
    assert_eq!("mizar2.AAAA".parse::<Token>(), Err(TokenError::Prefix));
}

#[test]
fn an_intact_token_with_other_content_is_refused() {
    let text_of = |json: &str| {
        let mut bytes = checksum(json.as_bytes()).to_vec();
        bytes.extend_from_slice(json.as_bytes());
        format!("mizar1.{}", URL_SAFE_NO_PAD.encode(bytes))
    };
    let (token, _) = make("h1", 1);
    let decoded = URL_SAFE_NO_PAD.decode(&token.reveal()[7..]).unwrap();
    let json = String::from_utf8(decoded[4..].to_vec()).unwrap();
    assert_eq!(text_of(&json).parse::<Token>().unwrap(), token);
    for (from, to) in [
        ("\"host\":\"h1\"", "\"host\":\"h1*h\""),
        ("\"host\":\"h1\"", "\"host\":\"h1\",\"more\":1"),
        ("\"host\":\"h1\",", ""),
        ("https://", "http://"),
        ("sha256:", "sha1:"),
        ("\"secret\":\"", "\"secret\":\"A"),
    ] {
        let altered = json.replace(from, to);
        assert_ne!(altered, json, "{from}");
        let read = text_of(&altered).parse::<Token>();
        assert!(matches!(read, Err(TokenError::Content(_))), "{to}: {read:?}");
    }
    let local = text_of(&json.replace("https://controller.example:6443", "unix:/a"));
    assert!(matches!(local.parse::<Token>(), Err(TokenError::Controller(_))));
}

#[test]
fn a_token_for_a_local_socket_cannot_be_made() {
    let made = Token::new(
        "unix:/run/a".parse().unwrap(),
        Fingerprint::of(b"ca"),
        "h1".parse().unwrap(),
        1,
        HOUR,
        now(),
    );
    assert!(matches!(made, Err(TokenError::Controller(_))));
}
