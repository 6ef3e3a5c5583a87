//! Tokens under contention, and beside an engine.

use super::*;
use crate::engine::{self, Change, Filter, List, Write};
use mizar_identity::token::Token;
use mizar_identity::{Fingerprint, Identity};
use mizar_store::Memory;
use mizar_vpc::{Kind, Manifest};

const HOUR: Duration = Duration::from_secs(3600);

fn make(uses: u32) -> (Token, TokenRecord) {
    let controller = "https://c.test:6443".parse().unwrap();
    let (ca, host) = (Fingerprint::of(b"ca"), "*".parse().unwrap());
    Token::new(controller, ca, host, uses, HOUR, SystemTime::now()).unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[test]
fn hosts_that_join_at_once_are_as_many_as_the_token_is_for() {
    let store = Arc::new(Memory::new());
    let tokens = Tokens::new(store);
    let (token, record) = make(5);
    tokens.add(&record, SystemTime::now()).unwrap();
    let joined = std::thread::scope(|scope| {
        let join = |nth: usize| {
            let (tokens, token) = (&tokens, &token);
            let host = name(&format!("h{nth}"));
            move || tokens.spend(&token.id, &token.secret, &host, SystemTime::now())
        };
        let all: Vec<_> = (0..16).map(|nth| scope.spawn(join(nth))).collect();
        all.into_iter().filter_map(|it| it.join().unwrap().ok()).count()
    });
    assert_eq!(joined, 5);
    assert_eq!(tokens.find(&token.id).unwrap().unwrap().record.uses_left, 0);
}

#[test]
fn what_was_deleted_or_is_damaged_lets_nobody_in() {
    let store = Arc::new(Memory::new());
    let tokens = Tokens::new(store.clone());
    let (token, record) = make(1);
    tokens.add(&record, SystemTime::now()).unwrap();
    assert!(tokens.remove(&token.id).unwrap().is_some());
    assert!(tokens.remove(&token.id).unwrap().is_none());
    let spend = || tokens.spend(&token.id, &token.secret, &name("h1"), SystemTime::now());
    assert!(matches!(spend(), Err(SpendError::Unknown)));
    store.commit(&[Transaction::new().put(key(&token.id), *b"\x01{")]).unwrap();
    assert!(matches!(spend(), Err(SpendError::Unknown)));
    assert!(tokens.all().unwrap().is_empty());
}

#[test]
fn those_that_ended_long_ago_are_forgotten_with_the_next_one() {
    let tokens = Tokens::new(Arc::new(Memory::new()));
    let (old, new) = (make(1).1, make(1).1);
    tokens.add(&old, SystemTime::now()).unwrap();
    tokens.add(&new, SystemTime::now() + HOUR + 2 * REMEMBERED).unwrap();
    assert_eq!(tokens.all().unwrap(), [new]);
}

/// The engine's generations grow, whatever tokens do to the store in between, also over a restart.
#[tokio::test]
async fn tokens_do_not_disturb_the_engine_nor_its_restart() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let tokens = Tokens::new(store.clone());
    let who = Identity::local();
    let tenant = |name: &str| {
        let json =
            serde_json::json!({ "kind": "Tenant", "metadata": { "name": name }, "spec": {} });
        Change::Create(serde_json::from_value::<Manifest>(json).unwrap())
    };
    let write = |name: &str| Write { changes: vec![tenant(name)], dry_run: false };
    let mut versions = Vec::new();
    for round in 0..3 {
        let (engine, thread) = engine::start(store.clone()).unwrap();
        tokens.add(&make(1).1, SystemTime::now()).unwrap();
        for nth in 0..2 {
            let written = engine.write(&who, write(&format!("t-{round}-{nth}"))).await.unwrap();
            versions.push(written.resource_version);
            tokens.add(&make(1).1, SystemTime::now()).unwrap();
        }
        drop(engine);
        thread.join().unwrap();
    }
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    let (engine, _thread) = engine::start(store).unwrap();
    let list = List { filter: Filter::all(Kind::Tenant), limit: 100, after: None };
    let page = engine.list(&who, list).await.unwrap();
    assert_eq!(page.items.len(), 6);
    assert!(page.resource_version >= (*versions.last().unwrap()).into());
    assert_eq!(tokens.all().unwrap().len(), 9);
}
