//! A lab of one test, and the program run against it.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// Two VPCs with the same addresses. In blue, packets from a to b need the bouncer h3 at first, and
/// packets from a to c the divider h2 and the bouncer h3.
const TOPOLOGY: &str = "
hosts: [h1, h2, h3, h4]
vpcs:
  - name: blue
    vni: 7
    dividers: [h2]
    networks:
      - name: front
        v4: 10.0.1.0/24
        v6: fd00:0:0:1::/64
        bouncers: [h3]
        endpoints:
          - {name: a, host: h1, v4: 10.0.1.2, v6: \"fd00:0:0:1::2\"}
          - {name: b, host: h4, v4: 10.0.1.3, v6: \"fd00:0:0:1::3\"}
      - name: back
        v4: 10.0.2.0/24
        v6: fd00:0:0:2::/64
        bouncers: [h3]
        endpoints:
          - {name: c, host: h4, v4: 10.0.2.2, v6: \"fd00:0:0:2::2\"}
  - name: red
    vni: 8
    dividers: [h4]
    networks:
      - name: front
        v4: 10.0.1.0/24
        bouncers: [h2]
        endpoints:
          - {name: a, host: h1, v4: 10.0.1.2}
          - {name: only-red, host: h3, v4: 10.0.1.9}
";

/// A lab that is up, and removed when this goes.
pub(crate) struct World {
    pub(crate) lab: String,
    folder: tempfile::TempDir,
}

/// Packets by host and counter.
pub(crate) type Counted = BTreeMap<(String, String), u64>;

impl World {
    /// Nothing, loudly, without root.
    pub(crate) fn new(name: &str) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        if !fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
            println!("SKIPPED: needs root");
            return None;
        }
        let lab = format!("cli-{name}-{}", std::process::id());
        let world = Self { lab, folder: tempfile::tempdir().unwrap() };
        let file = world.topology(TOPOLOGY);
        let output = mizar(&["lab", "up", file.to_str().unwrap()]);
        assert!(output.status.success(), "{}", said(&output));
        Some(world)
    }

    /// A topology file for this lab.
    pub(crate) fn topology(&self, text: &str) -> PathBuf {
        let file = self.folder.path().join("cloud.yaml");
        fs::write(&file, format!("lab: {}\n{text}", self.lab)).unwrap();
        file
    }

    /// The topology with one more endpoint in the network `back`.
    pub(crate) fn with_endpoint(&self, endpoint: &str) -> PathBuf {
        let last = "          - {name: c,";
        self.topology(&TOPOLOGY.replace(last, &format!("          - {endpoint}\n{last}")))
    }

    /// What a command prints that must work.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let output = mizar(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same as JSON.
    pub(crate) fn ask_json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ask(&[arguments, &["-o", "json"]].concat())).unwrap()
    }

    /// Runs a command inside a host or guest.
    pub(crate) fn exec(&self, target: &str, line: &str) -> Output {
        let words: Vec<_> = line.split_whitespace().collect();
        mizar(&[&["lab", "exec", "--lab", &self.lab, target, "--"], &words[..]].concat())
    }

    /// Where its controller listens.
    pub(crate) fn controller(&self) -> String {
        let said = self.ask(&["lab", "env", &self.lab]);
        let address = said.lines().find_map(|line| line.split_once("MIZAR_CONTROLLER="));
        address.unwrap_or_else(|| panic!("{said}")).1.trim_matches(['\'', '"', ';']).to_owned()
    }

    /// A trace, whatever it finds.
    pub(crate) fn trace(&self, from: &str, to: &str, options: &[&str]) -> (Value, Option<i32>) {
        self.trace_by(&["--lab", &self.lab], from, to, options)
    }

    /// The same, of whom is said how.
    pub(crate) fn trace_by(
        &self,
        how: &[&str],
        from: &str,
        to: &str,
        options: &[&str],
    ) -> (Value, Option<i32>) {
        let output = mizar(&[&["trace", from, to, "-o", "json"], how, options].concat());
        let trace = serde_json::from_slice(&output.stdout);
        (trace.unwrap_or_else(|_| panic!("{}", said(&output))), output.status.code())
    }

    /// What the hosts have counted for a VPC, but for what guests say to their own gateway.
    pub(crate) fn counted(&self, vpc: &str) -> Counted {
        let vpcs = self.ask_json(&["lab", "counters", &self.lab]);
        let name = |it: &&Value| it["vpc"].as_str().is_some_and(|name| name.starts_with(vpc));
        let mut counted = Counted::new();
        let Some(found) = vpcs.as_array().unwrap().iter().find(name) else { return counted };
        for (host, counters) in found["hosts"].as_object().unwrap() {
            for (counter, packets) in counters.as_object().unwrap() {
                if !["answered", "unanswered", "multicast"].contains(&counter.as_str()) {
                    let key = (host.clone(), counter.clone());
                    counted.insert(key, packets.as_u64().unwrap());
                }
            }
        }
        counted
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let output = mizar(&["lab", "down", &self.lab]);
        if !output.status.success() {
            println!("{}", said(&output));
        }
    }
}

/// By how much counters have risen.
pub(crate) fn risen(after: &Counted, before: &Counted) -> Counted {
    let mut risen = after.clone();
    for (key, packets) in before {
        *risen.get_mut(key).unwrap() -= packets;
    }
    risen.retain(|_, packets| *packets > 0);
    risen
}

pub(crate) fn mizar(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mizar")).args(arguments).output().unwrap()
}

/// What a program has written, its errors first.
pub(crate) fn said(output: &Output) -> String {
    let both = [&output.stderr[..], &output.stdout[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}
