//! What a store on this machine's disk does: `cargo run --release -p mizar-store --example measure
//! [folder] [records]`.

#![expect(clippy::print_stdout, reason = "it is what the program is for")]

use mizar_store::{Backup, Options, Redb, Store, StoreError, Transaction, restore};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// As an endpoint's record has.
const VALUE: usize = 120;
const GROUP: u64 = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| ".".to_owned()));
    let records = arguments.next().map_or(Ok(1_000_000), |count| count.parse::<u64>())?;
    let folder = tempfile::tempdir_in(folder)?;
    let path = folder.path().join("store");
    let store = Redb::open(&path, &Options::default())?;

    latencies(&store, records)?;
    let start = Instant::now();
    for first in (0..records).step_by(usize::try_from(GROUP)?) {
        store.commit(&group(first))?;
    }
    println!("{records} records in random order, in groups of {GROUP}: {:?}", start.elapsed());
    latencies(&store, 2 * records)?;
    size("the file", &path, records)?;

    let (start, mut count) = (Instant::now(), 0);
    store.scan(b"", &mut |_, _, _| count += 1)?;
    println!("scan of {count} records: {:?}", start.elapsed());
    let (start, backup) = (Instant::now(), folder.path().join("backup"));
    let mut file = std::io::BufWriter::new(std::fs::File::create(&backup)?);
    Backup::write(&store, &mut file)?;
    println!("backup: {:?}", start.elapsed());
    size("the backup", &backup, records)?;
    let (start, restored) = (Instant::now(), folder.path().join("restored"));
    restore(&backup, &restored, 0, None)?;
    println!("restore: {:?}", start.elapsed());
    size("the restored file", &restored, records)?;
    let start = Instant::now();
    drop(store);
    println!("close: {:?}", start.elapsed());
    size("the file, closed", &path, records)?;

    let start = Instant::now();
    let store = Redb::open(&path, &Options::default())?;
    println!("open after closing: {:?}", start.elapsed());
    let start = Instant::now();
    store.scan(b"", &mut |_, _, _| ())?;
    println!("scan after opening: {:?}", start.elapsed());
    // A copy of a file that is in use is what a crash leaves.
    let crashed = folder.path().join("crashed");
    store.commit(&group(records))?;
    std::fs::copy(&path, &crashed)?;
    let start = Instant::now();
    Redb::open(&crashed, &Options::default())?;
    println!("open after a crash: {:?}", start.elapsed());
    Ok(())
}

fn latencies(store: &Redb, first: u64) -> Result<(), StoreError> {
    let single = median(201, |round| {
        let number = first + round;
        store.commit(&[Transaction::new().put(key(number), record(number))]).map(drop)
    })?;
    let grouped = median(21, |round| store.commit(&group(first + GROUP * (round + 1))).map(drop))?;
    println!("commit of one record: {single:?}, of {GROUP}: {grouped:?} (medians)");
    Ok(())
}

fn median(
    rounds: u64,
    mut run: impl FnMut(u64) -> Result<(), StoreError>,
) -> Result<Duration, StoreError> {
    let mut times = (0..rounds)
        .map(|round| {
            let start = Instant::now();
            run(round).map(|()| start.elapsed())
        })
        .collect::<Result<Vec<_>, _>>()?;
    times.sort();
    Ok(times[times.len() / 2])
}

fn group(first: u64) -> Vec<Transaction> {
    (first..first + GROUP).map(|n| Transaction::new().put(key(n), record(n))).collect()
}

/// 20 bytes, in no order.
fn key(number: u64) -> Vec<u8> {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    let mixed = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93);
    format!("ep/{mixed:016x}/").into_bytes()
}

fn record(number: u64) -> Vec<u8> {
    number.to_le_bytes().into_iter().cycle().take(VALUE).collect()
}

fn size(what: &str, path: &std::path::Path, records: u64) -> std::io::Result<()> {
    let metadata = std::fs::metadata(path)?;
    let (length, taken) = (metadata.len(), metadata.blocks() * 512);
    let records = records.max(1);
    println!(
        "{what}: {length} bytes long, {} per record; {taken} on the disk, {} per record",
        length / records,
        taken / records
    );
    Ok(())
}
