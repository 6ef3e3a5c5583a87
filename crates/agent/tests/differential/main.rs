//! The kernel programs and `mizar-packet` in user space do the same: random frames and random
//! tables go through both, and verdicts, bytes, marks, tags, tables, counters and events are
//! compared.
//!
//! A failure prints its seed: `MIZAR_TEST_SEED` runs the same again. `MIZAR_TEST_FULL` runs
//! longer.
#![expect(clippy::unwrap_used, reason = "a test's helpers may panic")]

mod coverage;
mod guest_frames;
mod hosts;
mod kernel;
mod model;
mod outcome;
mod packets;
mod random;
mod wire_frames;

use coverage::Coverage;
use hosts::INTERFACE;
use kernel::{Kernel, Skb};
use mizar_packet::Reason;
use mizar_packet::count::Counter;
use mizar_packet::memory::MemoryTables;
use model::Entry;
use outcome::{Outcome, State};
use random::Random;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tables of one run, and frames that each of them sees.
const TABLES: u64 = 500;
const FRAMES: usize = 24;

#[test]
fn kernel_and_user_space_do_the_same() {
    if !is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    let full = std::env::var_os("MIZAR_TEST_FULL").is_some();
    let tables = if full { TABLES * 20 } else { TABLES };
    let seed = seed();
    println!("MIZAR_TEST_SEED={seed}, {tables} tables, {FRAMES} frames each");
    let mut kernel = Kernel::load();
    kernel.fill_slots();
    let mut coverage = Coverage::default();
    let disturbance = kernel.disturb();
    for number in 0..tables {
        // Each tables' own seed, so that the failing one can be run alone.
        run_tables(&mut kernel, seed.wrapping_add(number), &mut coverage);
    }
    let disturbances = disturbance.end();
    println!("{coverage}{disturbances:>9} rows written meanwhile");
    let unseen = coverage.unseen();
    assert!(unseen.is_empty(), "never seen, so not tested: {}", unseen.join(", "));
}

#[test]
fn an_empty_slot_drops_and_counts() {
    if !is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    let mut kernel = Kernel::load();
    let now = kernel::jiffies();
    let mut random = Random::new(1);
    let tables = hosts::tables(&mut random, now);
    kernel.fill(&tables);
    let frame = guest_frames::frame(&mut random, None);
    assert_eq!(kernel.run_tc(Entry::Guest.name(), &frame, &Skb::default()).code, 2);
    let mut dropped = 1;
    while dropped < 10 {
        let frame = wire_frames::control(&mut random, &tables);
        let before = kernel.state().counters;
        let ran = kernel.run_xdp(Entry::WireXdp.name(), &frame);
        if kernel.state().counters.get(&no_program()) == before.get(&no_program()) {
            continue;
        }
        assert_eq!(ran.code, 1);
        assert_eq!(kernel.run_tc(Entry::WireTc.name(), &frame, &Skb::default()).code, 2);
        dropped += 2;
        assert_eq!(kernel.state().counters[&no_program()], dropped);
    }
}

fn no_program() -> (u32, u32) {
    (0, Counter::Dropped(Reason::NoProgram).row())
}

/// Frames one after another through the same tables.
fn run_tables(kernel: &mut Kernel, seed: u64, coverage: &mut Coverage) {
    let mut random = Random::new(seed);
    let tables = hosts::tables(&mut random, kernel::jiffies());
    kernel.fill(&tables);
    let before = tables.clone();
    for number in 0..FRAMES {
        let (entry, frame, skb) = choose(&mut random, &tables);
        let (verdict, right) = model::run(entry, &tables, &frame, &skb);
        let name = entry.name();
        let ran = if entry.is_xdp() {
            kernel.run_xdp(name, &frame)
        } else {
            kernel.run_tc(name, &frame, &skb)
        };
        let right_state = State::of(&tables);
        let mut differences = kernel.state().differences(&right_state);
        if ran != right {
            differences.push(format!("frame: {}", describe(&ran, &right)));
        }
        assert!(
            differences.is_empty(),
            "MIZAR_TEST_SEED={seed}, frame {number}: {name} and user space differ\n{}\n\
             the verdict should be {verdict:?}\nframe in: {}\n{skb:?}\ntables: {before:#?}",
            differences.join("\n"),
            hex(&frame),
        );
        coverage.verdict(name, verdict);
        coverage.events(&right_state.events);
    }
    coverage.counters(&tables.counters.borrow());
}

/// A program and a frame for it; sometimes one that it would never see.
fn choose(random: &mut Random, tables: &MemoryTables) -> (Entry, Vec<u8>, Skb) {
    let entry = match random.below(20) {
        0..=6 => Entry::Guest,
        7 => random.pick(&[Entry::AnswerLink, Entry::AnswerIcmp, Entry::AnswerDhcp]),
        8..=12 => Entry::WireXdp,
        13 => Entry::WireXdpGeneric,
        14 => random.pick(&[Entry::ControlXdp, Entry::ControlTc, Entry::StrayXdp, Entry::StrayTc]),
        15 => Entry::Guard,
        _ => Entry::WireTc,
    };
    let from_guest = match entry {
        Entry::Guest | Entry::AnswerLink | Entry::AnswerIcmp | Entry::AnswerDhcp => true,
        Entry::WireXdp | Entry::WireXdpGeneric | Entry::ControlXdp => false,
        Entry::WireTc | Entry::ControlTc | Entry::StrayXdp | Entry::StrayTc => false,
        Entry::Guard => random.one_in(4),
    };
    if entry == Entry::WireXdp && random.one_in(30) {
        return (entry, wire_frames::jumbo(random, tables), Skb::default());
    }
    let mut frame = match entry {
        Entry::ControlXdp | Entry::ControlTc => wire_frames::control(random, tables),
        _ if from_guest => guest_frames::frame(random, tables.ports.get(&INTERFACE)),
        _ => wire_frames::frame(random, tables),
    };
    damage(random, &mut frame);
    let shortest = Kernel::shortest(entry.is_xdp(), &frame);
    frame.resize(frame.len().max(shortest), 0);
    let mut skb = Skb::default();
    if !entry.is_xdp() && random.one_in(12) {
        skb.segment_payload = random.within(1, 3000) as u32;
    }
    if entry == Entry::Guard {
        skb.mark = random.pick(&[0, tables.config.mark, 1]);
    }
    skb.scratch = [random.below(10) as u32, random.within(0, 2000) as u32];
    (entry, frame, skb)
}

/// What nobody sends on purpose.
fn damage(random: &mut Random, frame: &mut Vec<u8>) {
    match random.below(30) {
        0 if frame.len() > 14 => frame.truncate(random.within(14, frame.len())),
        1 => {
            let at = random.below(frame.len().min(110));
            frame[at] = random.byte();
        }
        2 => {
            let len = random.within(1, 40);
            frame.extend(random.bytes(len));
        }
        _ => {}
    }
}

fn describe(ran: &Outcome, right: &Outcome) -> String {
    let text = |outcome: &Outcome| {
        let Outcome { code, bytes, mark, tag } = outcome;
        let shown = hex(&bytes[..bytes.len().min(200)]);
        format!("code {code}, mark {mark:#x}, tag {tag:?}, {} bytes: {shown}", bytes.len())
    };
    let mut pairs = ran.bytes.iter().zip(&right.bytes);
    let at = pairs.position(|(ran, right)| ran != right);
    format!("kernel {}\nright {}\nfirst differing byte: {at:?}", text(ran), text(right))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn seed() -> u64 {
    let given = std::env::var("MIZAR_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64)
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}
