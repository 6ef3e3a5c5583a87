//! What is on record, through crashes, full disks and rotations.

use super::*;
use crate::testing::identity;
use std::fs;
use std::time::{Duration, UNIX_EPOCH};
use tempfile::TempDir;

fn entry(request: &str) -> Entry {
    Entry {
        time: UNIX_EPOCH + Duration::from_millis(1_772_366_400_250),
        revision: Some("1.42".to_owned()),
        who: Who::Identity(identity("tenant/acme/bob")),
        from: "192.0.2.1:4711".to_owned(),
        verb: "create".to_owned(),
        objects: vec![Object { kind: "endpoint".to_owned(), name: "blue/web/web-1".to_owned() }],
        outcome: Outcome::Done,
        request: request.to_owned(),
    }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    (folder, path)
}

fn close(audit: Audit, thread: JoinHandle<()>) {
    drop(audit);
    thread.join().unwrap();
}

fn requests(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    text.lines().map(|line| read(line)["request"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_line_says_who_did_what_when_and_what_came_of_it() {
    let (_folder, path) = folder();
    let (audit, thread) = Audit::open(&path, Rotation::default()).unwrap();
    audit.record(&entry("r1")).await.unwrap();
    let refused = Entry {
        revision: None,
        who: Who::Nobody,
        outcome: Outcome::Refused("a line\n{\"request\":\"forged\"}\n".to_owned()),
        ..entry("r2")
    };
    audit.record(&refused).await.unwrap();
    let token = Entry { who: Who::Token("0a1b".parse().unwrap()), ..entry("r3") };
    audit.record(&token).await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[0],
        "{\"time\":\"2026-03-01T12:00:00.25Z\",\"revision\":\"1.42\",\"who\":\"tenant/acme/bob\",\
         \"from\":\"192.0.2.1:4711\",\"verb\":\"create\",\"objects\":[{\"kind\":\"endpoint\",\
         \"name\":\"blue/web/web-1\"}],\"outcome\":\"done\",\"request\":\"r1\"}"
    );
    assert_eq!(requests(&path), ["r1", "r2", "r3"], "no line is forged");
    assert!(lines[1].contains("\"who\":\"nobody\"") && lines[2].contains("token/0a1b"));
    close(audit, thread);
}

#[tokio::test]
async fn a_line_torn_by_a_crash_is_cut_off_and_the_log_goes_on() {
    let (_folder, path) = folder();
    for (before, torn) in [("", "{\"time\":\"20"), ("", "\0\0\0"), ("{\"request\":\"r0\"}\n", "{")]
    {
        fs::write(&path, format!("{before}{torn}")).unwrap();
        let (audit, thread) = Audit::open(&path, Rotation::default()).unwrap();
        audit.record(&entry("r1")).await.unwrap();
        close(audit, thread);
        let expected = if before.is_empty() { &["r1"][..] } else { &["r0", "r1"] };
        assert_eq!(requests(&path), expected);
    }
}

#[tokio::test]
async fn what_is_whole_stays_whole_when_it_is_opened_again() {
    let (_folder, path) = folder();
    for nth in 0..3 {
        let (audit, thread) = Audit::open(&path, Rotation::default()).unwrap();
        audit.record(&entry(&format!("r{nth}"))).await.unwrap();
        close(audit, thread);
    }
    assert_eq!(requests(&path), ["r0", "r1", "r2"]);
}

#[test]
fn a_file_that_is_no_log_is_not_cut() {
    let (_folder, path) = folder();
    let content = "x".repeat(Log::LONGEST + 1);
    fs::write(&path, &content).unwrap();
    assert!(Audit::open(&path, Rotation::default()).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), content);
}

#[tokio::test]
async fn many_at_a_time_are_each_on_record_once() {
    let (_folder, path) = folder();
    let (audit, thread) = Audit::open(&path, Rotation::default()).unwrap();
    let names: Vec<_> = (0..3000).map(|nth| format!("r{nth:04}")).collect();
    let entries: Vec<_> = names.iter().map(|name| entry(name)).collect();
    let recorded = futures::future::join_all(entries.iter().map(|entry| audit.record(entry))).await;
    assert!(recorded.iter().all(Result::is_ok));
    let mut found = requests(&path);
    found.sort();
    assert_eq!(found, names);
    close(audit, thread);
}

#[tokio::test]
async fn full_files_are_put_aside_and_the_oldest_deleted() {
    let (folder, path) = folder();
    let size = entry("r0").line().len() as u64;
    let rotation = Rotation { bytes: 2 * size, keep: 2 };
    let (audit, thread) = Audit::open(&path, rotation).unwrap();
    for nth in 0..9 {
        audit.record(&entry(&format!("r{nth}"))).await.unwrap();
    }
    assert_eq!(requests(&path), ["r8"]);
    assert_eq!(requests(&folder.path().join("audit.log.1")), ["r6", "r7"]);
    assert_eq!(requests(&folder.path().join("audit.log.2")), ["r4", "r5"]);
    assert!(!folder.path().join("audit.log.3").exists());
    close(audit, thread);
}

#[tokio::test]
async fn a_batch_larger_than_a_file_is_spread_over_files() {
    let (folder, path) = folder();
    let size = entry("r0").line().len() as u64;
    let mut log = Log::open(&path, Rotation { bytes: 2 * size, keep: 5 }).unwrap();
    let lines: Vec<_> = (0..5).map(|nth| entry(&format!("r{nth}")).line()).collect();
    log.append(lines.iter().map(Vec::as_slice)).unwrap();
    assert_eq!(requests(&path), ["r4"]);
    assert_eq!(requests(&folder.path().join("audit.log.1")), ["r2", "r3"]);
    assert_eq!(requests(&folder.path().join("audit.log.2")), ["r0", "r1"]);
}

#[tokio::test]
async fn who_records_on_a_full_disk_is_told() {
    let (_folder, path) = folder();
    // Every write to it fails as on a full disk.
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let opened = Audit::open(&path, Rotation::default());
    let (audit, thread) = opened.unwrap();
    let error = audit.record(&entry("r1")).await.unwrap_err();
    let text = crate::errors::chain(&error);
    assert!(text.contains("not on record") && text.contains("audit.log"), "{text}");

    // And once there is room again, so is the log.
    fs::remove_file(&path).unwrap();
    audit.record(&entry("r2")).await.unwrap();
    assert_eq!(requests(&path), ["r2"]);
    close(audit, thread);
}

#[tokio::test]
async fn an_entry_without_end_is_refused_and_holds_up_nobody() {
    let (_folder, path) = folder();
    let (audit, thread) = Audit::open(&path, Rotation::default()).unwrap();
    let endless = entry(&"r".repeat(Log::LONGEST));
    assert!(matches!(audit.record(&endless).await, Err(AuditError::Length(_))));
    audit.record(&entry("r1")).await.unwrap();
    assert_eq!(requests(&path), ["r1"]);
    close(audit, thread);
}

#[test]
fn two_processes_do_not_share_a_log() {
    let (_folder, path) = folder();
    let first = Log::open(&path, Rotation::default()).unwrap();
    assert!(matches!(Log::open(&path, Rotation::default()), Err(LogError::Taken(_))));
    drop(first);
    Log::open(&path, Rotation::default()).unwrap();
}
