//! What agents say.

use crate::{GENERATION, UNDERLAY, V4};
use mizar_proto::*;

#[test]
fn what_an_agent_says_is_refused_by_field() {
    use pb::agent_message::Message;
    let send = |message| pb::AgentMessage { message };
    refused!(AgentMessage, send(None), "message: it is missing: it must be set");
    let position = pb::Position { vni: 7, generation: GENERATION, digest: 5 };
    let hello = pb::Hello {
        host: "h1".to_owned(),
        protocol: PROTOCOL,
        positions: vec![position],
        version: "0.1.0".to_owned(),
        underlay: UNDERLAY.to_vec(),
        tags: 1,
    };
    AgentMessage::try_from(send(Some(Message::Hello(hello.clone())))).unwrap();
    let host = pb::Hello { host: String::new(), ..hello.clone() };
    refused!(
        AgentMessage,
        send(Some(Message::Hello(host))),
        "hello.host: it is missing: it must be set"
    );
    let protocol = pb::Hello { protocol: 0, ..hello.clone() };
    refused!(Hello, protocol, "protocol: it is missing: it must be set");
    let version = pb::Hello { version: String::new(), ..hello.clone() };
    refused!(Hello, version, "version: it is missing: it must be set");
    let underlay = pb::Hello { underlay: Vec::new(), ..hello.clone() };
    refused!(Hello, underlay, "underlay: it is missing: it must be set");
    let (version, underlay) = Default::default();
    let old = Hello::try_from(pb::Hello { protocol: 1, version, underlay, ..hello.clone() });
    assert_eq!(old.unwrap().underlay, None, "it must be understood to be told of its age");
    let positions = vec![position, position];
    refused!(
        Hello,
        pb::Hello { positions, ..hello.clone() },
        "positions[1]: 7 is there twice: it must be there once"
    );
    let positions = vec![pb::Position { generation: 0, ..position }];
    refused!(
        Hello,
        pb::Hello { positions, ..hello },
        "positions[0].generation: it is missing: it must be set"
    );
}

#[test]
fn acks_are_refused_by_field() {
    use pb::{ack::Outcome, row_error::Row};
    let ack = |outcome| pb::Ack { vni: 7, generation: GENERATION, outcome };
    let applied = |row, reason: &str| {
        let errors = vec![pb::RowError { row, reason: reason.to_owned() }];
        ack(Some(Outcome::Applied(pb::Applied { errors, ..pb::Applied::default() })))
    };
    Ack::try_from(applied(Some(Row::Network(1)), "full")).unwrap();
    let missing = "it is missing: it must be set";
    refused!(Ack, ack(None), format!("outcome: {missing}"));
    let refusal = Some(Outcome::Refused(pb::Refused { reason: String::new() }));
    refused!(Ack, ack(refusal), format!("refused.reason: {missing}"));
    refused!(Ack, applied(None, "full"), format!("applied.errors[0].row: {missing}"));
    refused!(
        Ack,
        applied(Some(Row::Network(1)), ""),
        format!("applied.errors[0].reason: {missing}")
    );
    refused!(
        Ack,
        applied(Some(Row::Port(String::new())), "full"),
        format!("applied.errors[0].port: {missing}")
    );
    refused!(
        Ack,
        applied(Some(Row::Held(vec![1])), "full"),
        "applied.errors[0].held: an address of 1 bytes: it must have 4 (IPv4) or 16 (IPv6)"
    );
}

#[test]
fn times_and_beats_are_refused_by_field() {
    let time = |step| pb::StepTime { step, us: 5 };
    let report = |steps| {
        let port = pb::PortReport { name: "a".to_owned(), steps, total_us: 9 };
        pb::Applied { ports: vec![port], ..pb::Applied::default() }
    };
    Applied::try_from(report(vec![time(1), time(4)])).unwrap();
    refused!(
        Applied,
        report(vec![time(1), time(1)]),
        "ports[0].steps[1]: interface is there twice: it must be there once"
    );
    refused!(
        Applied,
        report(vec![time(9)]),
        "ports[0].steps[0].step: 9 is no Step: it must be one that the protocol names"
    );
    let load = |vni| pb::Load { vni, bounced: 1, divided: 2 };
    let beat = |vpcs| pb::Beat { vpcs, ..pb::Beat::default() };
    refused!(
        Beat,
        beat(vec![load(0)]),
        "vpcs[0].vni: VNI 0 is out of range: it must be from 1 to 16777215"
    );
    refused!(
        Beat,
        beat((1..=257).map(load).collect()),
        "vpcs: 257 entries: there must be from 0 to 256"
    );
    refused!(
        Beat,
        pb::Beat { waits_for: "x".repeat(513), ..pb::Beat::default() },
        "waits_for: a text of 513 bytes: it must have at most 512"
    );
}

#[test]
fn reports_are_refused_by_field() {
    let port = pb::PortStatus {
        vni: 7,
        name: "a".to_owned(),
        interface: "mz1".to_owned(),
        mac: vec![2, 0, 10, 0, 0, 5],
        v4: Some(V4.to_vec()),
        v6: None,
        generation: GENERATION,
        state: pb::PortState::Ready.into(),
        error: String::new(),
        steps: Vec::new(),
    };
    let host =
        pb::HostStatus { underlay: UNDERLAY.to_vec(), next_hop: None, alive: true, mtu: 1500 };
    let status = pb::StatusResponse {
        host: "h1".to_owned(),
        version: "0.1.0".to_owned(),
        layout: 1,
        nic: "eth0".to_owned(),
        nic_mode: pb::NicMode::Native.into(),
        nic_mode_reason: String::new(),
        waits_for: String::new(),
        since: 1,
        config: None,
        connected: true,
        positions: Vec::new(),
        ports: vec![port],
        hosts: vec![host],
    };
    Status::try_from(status.clone()).unwrap();
    let with = |change: fn(&mut pb::StatusResponse), words: &str| {
        let mut message = status.clone();
        change(&mut message);
        refused!(Status, message, words);
    };
    with(|s| s.nic.clear(), "nic: it is missing: it must be set");
    with(|s| s.nic_mode = 0, "nic_mode: it is missing: it must be set");
    with(|s| s.nic_mode = 9, "nic_mode: 9 is no NicMode: it must be one that the protocol names");
    with(|s| s.ports[0].state = 0, "ports[0].state: it is missing: it must be set");
    with(|s| s.ports[0].state = 3, "ports[0].error: it is missing: it must be set");
    with(|s| s.ports[0].mac.clear(), "ports[0].mac: it is missing: it must be set");
    with(
        |s| s.hosts[0].next_hop = Some(vec![2]),
        "hosts[0].next_hop: a MAC address of 1 bytes: it must have 6",
    );
    with(|s| s.hosts[0].mtu = 65_536, "hosts[0].mtu: 65536 is too large: it must be at most 65535");
    let packets = [("sent".to_owned(), 1)].into();
    let row = pb::VpcCounters { vni: 1 << 24, packets };
    refused!(
        Counters,
        pb::CountersResponse { vpcs: vec![row] },
        "vpcs[0].vni: VNI 16777216 is out of range: it must be from 1 to 16777215"
    );
}

#[test]
fn a_look_that_is_too_wide_is_refused_and_so_is_an_answer_that_is_too_long() {
    let look = |addresses: usize, hosts: usize| pb::Look {
        vni: 7,
        addresses: vec![vec![10, 0, 0, 1]; addresses],
        hosts: vec![vec![192, 0, 2, 1]; hosts],
    };
    Look::try_from(look(4, 32)).unwrap();
    refused!(Look, look(0, 0), "addresses: 0 entries: there must be from 1 to 4");
    refused!(Look, look(5, 0), "addresses: 5 entries: there must be from 1 to 4");
    refused!(Look, look(1, 33), "hosts: 33 entries: there must be from 0 to 32");
    let none = pb::Question { number: 1, look: None };
    refused!(Question, none, "look: it is missing: it must be set");

    let table = |name: &str, rows| pb::Table {
        name: name.to_owned(),
        rows: vec![pb::TableRow::default(); rows],
    };
    let looked = |tables| pb::Looked { tables, ..pb::Looked::default() };
    let long = vec![table("PORTS", 1000), table("HOSTS", 25)];
    refused!(Looked, looked(long), "tables.rows: 1025 entries: there must be from 0 to 1024");
    refused!(Looked, looked(vec![table("", 1)]), "tables[0].name: it is missing: it must be set");
    let twice = vec![table("PORTS", 1), table("PORTS", 1)];
    refused!(Looked, looked(twice), "tables[1]: PORTS is there twice: it must be there once");
    let many = (0..17).map(|at| table(&format!("T{at}"), 0)).collect();
    refused!(Looked, looked(many), "tables: 17 entries: there must be from 0 to 16");
    let row = pb::TableRow { key: vec![0; 4], row: vec![0; 513] };
    let long = pb::Table { rows: vec![row], ..table("CONFIG", 0) };
    refused!(Looked, looked(vec![long]), "tables.rows: 513 is too large: it must be at most 512");
}

#[test]
fn what_an_agent_says_for_people_is_shortened_and_moves_no_cursor() {
    let problem = format!("no\u{1b}[2J\r\nways {}", "ä".repeat(1000));
    let outcome = Some(pb::answer::Outcome::Problem(problem));
    let answer = Answer::try_from(pb::Answer { number: 1, outcome }).unwrap();
    let said = answer.outcome.unwrap_err();
    assert!(said.starts_with("no [2J  ways ä") && said.len() == 1024 - 1, "{said}");
    let error = pb::RowError {
        row: Some(pb::row_error::Row::Network(1)),
        reason: "a\u{9b}31mb".to_owned(),
    };
    assert_eq!(RowError::try_from(error).unwrap().reason, "a 31mb");
}
