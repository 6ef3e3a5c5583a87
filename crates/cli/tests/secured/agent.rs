//! A host with an agent, in the namespace of its controller.

use crate::world::{CONTROLLER, World};
use std::process::Child;

/// An agent, which ends with the test, and with it what it has set up.
pub(crate) struct Agent<'a>(&'a World, Child, String);

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        let Self(world, agent, pins) = self;
        let _ = agent.kill();
        let _ = agent.wait();
        world.run(&["agent", "remove", "--pins", pins, "--instance", "h1"]);
    }
}

/// A new host that joins, and its agent, with more options.
pub(crate) fn agent<'a>(world: &'a World, name: &str, options: &[&str]) -> Agent<'a> {
    let manifests = "{kind: Fleet, metadata: {name: fleet}, spec: {prefixes: [100.64.0.0/16]}}\n\
                     ---\n{kind: Host, metadata: {name: h1}, spec: {underlay: 100.64.0.1}}\n";
    std::fs::write(world.path("fleet.yaml"), manifests).unwrap();
    world.alice(&format!("apply -f {}", world.path("fleet.yaml"))).expect(0);
    let token = world.alice("host token h1").expect(0);
    let dir = world.path("h1");
    world.run(&["host", "join", token.trim(), "--name", "h1", "--dir", &dir]).expect(0);
    world.shell("ip link add nic type veth peer name far");
    world.shell("ip addr add 100.64.0.1/16 dev nic");
    world.shell("ip link set nic up");
    world.shell("ip link set far up");
    let (own, ca) = (format!("{dir}/host.pem"), format!("{dir}/ca.crt"));
    let pins = format!("/sys/fs/bpf/mizar-{name}-{}", std::process::id());
    let words = ["agent", "--host", "h1", "--nic", "nic", "--instance", "h1"];
    let link = ["--controller", CONTROLLER, "--credentials", &own, "--ca", &ca];
    let (socket, rows) = (world.path("agent.sock"), "endpoints=4096");
    let local = ["--socket", &socket, "--pins", &pins, "--rows", rows];
    let child = world.start(&[&words[..], &link, &local, options].concat());
    let agent = Agent(world, child, pins);
    world.alice("wait host h1 --timeout 60s").expect(0);
    agent
}
