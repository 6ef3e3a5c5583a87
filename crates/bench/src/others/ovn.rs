//! OVN with its databases, its controller and its switch, all on this machine: how long a port
//! takes until it is up, in a logical switch with so many ports already.
//!
//! Only the new port is on this host; the others stand for those of other hosts. So this is what
//! one host has to do, beside the databases and northd, in a cloud with so many ports.

use crate::namespace::Namespace;
use crate::ovs::Programs;
use anyhow::Result;
use std::path::Path;
use std::time::Instant;

/// How many ports are made by one command.
const BATCH: usize = 250;
/// The logical switch.
const SWITCH: &str = "net";

/// A running OVN, which ends with this value.
pub(crate) struct Ovn {
    programs: Programs,
    ports: usize,
}

impl Ovn {
    /// Whether its packages are unpacked there.
    pub(crate) fn is_in(root: &Path) -> bool {
        root.join("usr/bin/ovn-northd").is_file()
    }

    /// Starts it, with a logical switch without ports.
    pub(crate) fn start(root: &Path) -> Result<Self> {
        let mut programs = Programs::new(root, Namespace::new()?)?;
        programs.database("nb", "ovn/ovn-nb", "ovnnb_db.sock")?;
        programs.database("sb", "ovn/ovn-sb", "ovnsb_db.sock")?;
        let [north, south] = ["ovnnb_db.sock", "ovnsb_db.sock"].map(|name| programs.remote(name));
        let (to_north, to_south) = (format!("--ovnnb-db={north}"), format!("--ovnsb-db={south}"));
        programs.daemon("usr/bin/ovn-northd", &[&to_north, &to_south])?;
        programs.start_switch()?;
        let bridge = "add-br br-int -- set bridge br-int datapath_type=netdev fail-mode=secure";
        programs.run("ovs-vsctl", &bridge.split(' ').collect::<Vec<_>>())?;
        let south = format!("external_ids:ovn-remote={south}");
        let rest = "external_ids:system-id=h1 external_ids:ovn-encap-type=geneve \
                    external_ids:ovn-encap-ip=127.0.0.1 \
                    external_ids:ovn-bridge-datapath-type=netdev";
        let settings = ["set", "open", ".", &south].into_iter().chain(rest.split_whitespace());
        programs.run("ovs-vsctl", &settings.collect::<Vec<_>>())?;
        programs.daemon("usr/bin/ovn-controller", &[&programs.remote("db.sock")])?;
        programs.run("ovn-nbctl", &["ls-add", SWITCH])?;
        let ovn = Self { programs, ports: 0 };
        ovn.settle()?;
        Ok(ovn)
    }

    /// Adds ports of other hosts until there are so many.
    pub(crate) fn fill(&mut self, ports: usize) -> Result<()> {
        while self.ports < ports {
            let mut words = Vec::new();
            let batch = self.ports..ports.min(self.ports + BATCH);
            self.ports = batch.end;
            for port in batch {
                let [high, low] = (port as u16).to_be_bytes();
                let (name, address) = (
                    format!("p{port}"),
                    format!("02:00:00:00:{high:02x}:{low:02x} 10.8.{high}.{low}"),
                );
                words.extend(["--", "lsp-add", SWITCH, &name].map(String::from));
                words.extend(["--", "lsp-set-addresses", &name, &address].map(String::from));
            }
            self.programs
                .run("ovn-nbctl", &words.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        self.settle()
    }

    /// Makes a port on this host and waits until it is up; how many milliseconds that took. The
    /// port is gone afterwards.
    pub(crate) fn create(&self) -> Result<f64> {
        let start = Instant::now();
        let add =
            "add-port br-int new -- set interface new type=internal external_ids:iface-id=new";
        self.programs.run("ovs-vsctl", &add.split(' ').collect::<Vec<_>>())?;
        let address = "02:00:01:00:00:01 10.9.0.1";
        let add = ["lsp-add", SWITCH, "new", "--", "lsp-set-addresses", "new", address];
        self.programs.run("ovn-nbctl", &add)?;
        self.programs.run("ovn-nbctl", &["wait-until", "logical_switch_port", "new", "up=true"])?;
        let took = start.elapsed().as_secs_f64() * 1e3;
        self.programs.run("ovn-nbctl", &["lsp-del", "new"])?;
        self.programs.run("ovs-vsctl", &["del-port", "new"])?;
        self.settle()?;
        Ok(took)
    }

    /// Waits until the host has everything.
    fn settle(&self) -> Result<()> {
        self.programs.run("ovn-nbctl", &["--wait=hv", "sync"])
    }
}
