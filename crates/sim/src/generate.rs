//! Makes a scenario of a seed.

use crate::random::Random;
use crate::scenario::{
    ADDRESSES, Action, Class, EndpointId, Flow, HostId, HostSpec, Scenario, Step,
};
use std::ops::Range;

/// When flows begin, in ms: by then the first endpoints are ready.
const FLOWS: u64 = 3_000;
/// Hosts that may fall silent without it being more than a coincidence, as `vpc::guard` has it.
const COINCIDENCE: usize = 2;
/// A single host may not be heard for so long, in ms.
const LONGEST_MUTE: u64 = 8_000;
/// When things begin to happen, in ms.
const HAPPEN: u64 = 4_000;

impl Scenario {
    /// The scenario of a seed, of a class that the seed decides.
    pub fn generate(seed: u64) -> Self {
        let class = *Random::new(seed, 0).pick(&Class::ALL);
        Self::generate_of(seed, class)
    }

    /// The scenario of a seed in a class.
    pub fn generate_of(seed: u64, class: Class) -> Self {
        let mut random = Random::new(seed, 1);
        let deaths = class == Class::Deaths;
        let count = if deaths { random.range(4, 8) } else { random.range(3, 8) };
        let mut hosts: Vec<_> = (0..count).map(|_| host(&mut random)).collect();
        if let Some(last) = hosts.last_mut().filter(|_| count > 3 && !deaths) {
            last.present = random.chance(60);
        }
        let mut scenario = Self {
            seed,
            class,
            hosts,
            vpcs: random.range(1, 3) as usize,
            networks: random.range(1, 3) as usize,
            dual: random.chance(50),
            replicas: *random.pick(if deaths { &[2, 2, 3] } else { &[1, 2, 2, 2, 3] }),
            quota: if random.chance(15) { random.range(1, 4) as u32 } else { 16_384 },
            script: Vec::new(),
        };
        let mut script = Script { random, scenario: &scenario, steps: Vec::new(), silent: None };
        script.begin();
        if deaths {
            script.die();
        } else {
            script.happen();
        }
        script.turn_keys();
        if class == Class::Moves {
            script.migrate();
        }
        if class == Class::Hostile {
            script.forge();
        }
        if !deaths {
            script.upgrade();
        }
        script.keep_silence();
        script.steps.sort_by_key(|step| step.at);
        scenario.script = script.steps;
        scenario
    }
}

fn host(random: &mut Random) -> HostSpec {
    HostSpec {
        hz: *random.pick(&[100, 250, 300, 1000]),
        // Kernels count from a little before this.
        jiffies: random.range(1 << 32, 1 << 40),
        drift: random.below(401) as i64 - 200,
        present: true,
    }
}

struct Script<'a> {
    random: Random,
    scenario: &'a Scenario,
    steps: Vec<Step>,
    /// When nothing is heard of many hosts, in ms, and of which.
    silent: Option<(Range<u64>, Vec<HostId>)>,
}

impl Script<'_> {
    fn step(&mut self, at: u64, action: Action) {
        self.steps.push(Step { at, action });
    }

    /// The first endpoints, and who sends to whom.
    fn begin(&mut self) {
        for vpc in 0..self.scenario.vpcs {
            let mut there = Vec::new();
            for number in 0..ADDRESSES {
                if self.random.chance(80) {
                    let (at, host) = (self.random.range(1, 200), self.present());
                    self.step(at, Action::Put(EndpointId { vpc, number }, host));
                    there.push(number);
                }
            }
            let strict = self.scenario.class.is_strict();
            let all: Vec<_> = (0..ADDRESSES).collect();
            let among = if strict { there } else { all };
            if strict && among.len() > 1 && self.random.chance(30) {
                let from = EndpointId { vpc, number: among[0] };
                let (at, pieces) = (self.random.range(FLOWS, HAPPEN), self.random.range(50, 600));
                self.step(at, Action::Stream(from, among[1], pieces as usize));
            }
            for _ in 0..self.random.range(2, 8) {
                if let Some(flow) = self.flow(vpc, &among) {
                    let at = self.random.range(FLOWS, HAPPEN);
                    self.step(at, Action::Flow(flow));
                }
            }
        }
    }

    fn flow(&mut self, vpc: usize, among: &[usize]) -> Option<Flow> {
        if among.len() < 2 {
            return None;
        }
        let number = *self.random.pick(among);
        let to = *self.random.pick(among);
        (number != to).then(|| Flow {
            from: EndpointId { vpc, number },
            to,
            every: self.random.range(20, 250),
            answered: self.random.chance(50),
            v6: self.scenario.dual && self.random.chance(50),
        })
    }

    fn happen(&mut self) {
        let end = HAPPEN + self.random.range(2_000, 14_000);
        for _ in 0..self.random.range(2, 20) {
            let at = self.random.range(HAPPEN, end);
            // What follows what within a moment is what goes wrong.
            let again = self.random.chance(30);
            let times = if again { self.random.range(2, 4) } else { 1 };
            for _ in 0..times {
                let later = self.random.below(60);
                self.event(at + if again { later } else { 0 });
            }
        }
    }

    fn event(&mut self, at: u64) {
        let kinds = match self.scenario.class {
            Class::Calm | Class::Deaths | Class::Hostile => 10,
            Class::Moves => 18,
            Class::Storm => 24,
        };
        // Those that only worse classes have come as often as all others.
        let kind = if kinds > 10 && self.random.chance(50) {
            self.random.range(10, kinds)
        } else {
            self.random.below(10)
        };
        let (host, vpc) = (self.any(), self.random.below(self.scenario.vpcs as u64) as usize);
        let network = self.random.below(self.scenario.networks as u64) as usize;
        match kind {
            0 | 1 => self.both(at, 6_000, Action::StopAgent(host), Action::StartAgent(host)),
            2 => self.both(at, 5_000, Action::StopController, Action::StartController),
            3 => self.step(at, Action::Reset(host)),
            4 if self.random.chance(15) => self.silence(at),
            4 => {
                let (from, to) = (Action::Mute(host, true), Action::Mute(host, false));
                self.both(at, LONGEST_MUTE, from, to);
            }
            5 | 6 => {
                let hosts = self.some_hosts();
                self.step(at, Action::Bouncers(vpc, network, hosts));
            }
            7 => {
                let hosts = self.some_hosts();
                self.step(at, Action::Dividers(vpc, hosts));
            }
            8 => self.both(at, 8_000, Action::Cordon(host, true), Action::Cordon(host, false)),
            9 => self.grow(at, vpc),
            10..=13 => self.step(at, Action::Put(self.endpoint_of(vpc, at), host)),
            14 => self.step(at, Action::Delete(self.endpoint_of(vpc, at))),
            15 | 16 => self.step(at, Action::Replace(self.endpoint_of(vpc, at), host)),
            17 => {
                let permille = self.random.below(30);
                self.both(at, 3_000, Action::Loss(permille), Action::Loss(0));
                let permille = self.random.below(100);
                self.both(at, 3_000, Action::Replay(permille), Action::Replay(0));
            }
            18..=20 => {
                if self.random.chance(75) {
                    self.both(at, 9_000, Action::StopHost(host), Action::StartHost(host));
                } else {
                    self.step(at, Action::StopHost(host));
                }
            }
            21 | 22 => {
                let to = self.any();
                self.both(at, 5_000, Action::Cut(host, to, true), Action::Cut(host, to, false));
                if self.random.chance(50) {
                    self.both(at, 5_000, Action::Cut(to, host, true), Action::Cut(to, host, false));
                }
            }
            _ => {
                let permille = self.random.below(200);
                self.both(at, 3_000, Action::Loss(permille), Action::Loss(0));
            }
        }
    }

    /// Hosts that have no endpoints die and return, one at a time.
    fn die(&mut self) {
        let mut at = HAPPEN + 1_000;
        for _ in 0..self.random.range(1, 4) {
            let host = self.random.range(self.homes() as u64, self.scenario.hosts.len() as u64);
            let lasts = *self.random.pick(&[200, 1_000, 5_000, 20_000, 40_000]);
            let lasts = self.random.range(lasts / 2, lasts);
            self.step(at, Action::StopHost(host as usize));
            self.step(at + lasts, Action::StartHost(host as usize));
            if self.random.chance(40) {
                let from = at.saturating_sub(self.random.below(1_000));
                let to = self.random.range(at, at + lasts + 2_000);
                self.step(from, Action::StopController);
                self.step(to, Action::StartController);
            }
            for _ in 0..self.random.range(2, 6) {
                let vpc = self.random.below(self.scenario.vpcs as u64) as usize;
                let all: Vec<_> = (0..ADDRESSES).collect();
                if let Some(mut flow) = self.flow(vpc, &all) {
                    if self.random.chance(30) {
                        flow.every = self.random.range(1_000, 4_000);
                    }
                    let begins = self.random.range(at, at + lasts.min(8_000));
                    self.step(begins, Action::Flow(flow));
                }
            }
            // Until it has its rows again, which a controller may tell it late.
            at += lasts + self.random.range(9_000, 15_000);
        }
    }

    /// Keys turn now and then, more often than all can follow.
    fn turn_keys(&mut self) {
        if self.random.chance(40) {
            for _ in 0..self.random.range(1, 5) {
                let at = self.random.range(HAPPEN, HAPPEN + 12_000);
                self.step(at, Action::Turn);
            }
        }
    }

    /// Endpoints move as virtual machines do that live on meanwhile.
    fn migrate(&mut self) {
        for _ in 0..self.random.below(5) {
            let at = self.random.range(HAPPEN, HAPPEN + 10_000);
            let vpc = self.random.below(self.scenario.vpcs as u64) as usize;
            let number = self.random.below(2 * ADDRESSES as u64) as usize;
            let (endpoint, host) = (EndpointId { vpc, number }, self.any());
            self.step(at, Action::Prepare(endpoint, host));
            let ends = at + self.random.range(1, 2_000);
            let stays = self.random.chance(25);
            let end = if stays { Action::Cancel(endpoint) } else { Action::Switch(endpoint) };
            self.step(ends, end);
        }
    }

    /// Agents give way to those whose tables have another layout.
    fn upgrade(&mut self) {
        if self.random.chance(30) {
            for _ in 0..self.random.range(1, 4) {
                let (at, host) = (self.random.range(HAPPEN, HAPPEN + 12_000), self.any());
                self.step(at, Action::Upgrade(host));
            }
        }
    }

    /// Somebody forges frames, and sends again what was sent.
    fn forge(&mut self) {
        for _ in 0..self.random.range(1, 6) {
            let at = self.random.range(HAPPEN, HAPPEN + 12_000);
            let (frames, permille) = (self.random.range(10, 400), self.random.below(100));
            self.step(at, Action::Forge(frames));
            self.both(at, 4_000, Action::Replay(permille), Action::Replay(0));
        }
    }

    /// Hosts on which endpoints are created first.
    fn homes(&self) -> usize {
        let present = self.scenario.hosts.iter().filter(|host| host.present).count();
        if self.scenario.class == Class::Deaths { present / 2 } else { present }
    }

    /// One thing, and later the other.
    fn both(&mut self, at: u64, longest: u64, one: Action, other: Action) {
        let lasts = self.random.range(20, longest);
        let lasts = if self.random.chance(40) { lasts / 10 } else { lasts };
        self.step(at, one);
        self.step(at + lasts, other);
    }

    /// Hosts are not heard for longer than a lease: however long if there are so many that it is no
    /// coincidence, otherwise for less long than former holders of slots are kept for senders that
    /// cannot be told. Once only, so that this holds for each of them.
    fn silence(&mut self, at: u64) {
        let mut hosts: Vec<_> = (0..self.scenario.hosts.len()).collect();
        hosts.retain(|_| self.random.chance(80));
        let longest = if hosts.len() > COINCIDENCE { 70_000 } else { 26_000 };
        let lasts = self.random.range(14_000, longest);
        self.silent.get_or_insert((at..at + lasts, hosts));
    }

    /// Those of whom nothing is heard for long are neither heard meanwhile nor silent for longer.
    fn keep_silence(&mut self) {
        let Some((time, hosts)) = self.silent.take() else { return };
        let around = time.start.saturating_sub(LONGEST_MUTE)..time.end + LONGEST_MUTE;
        self.steps.retain(|step| match &step.action {
            Action::Mute(host, _) => !hosts.contains(host) || !around.contains(&step.at),
            _ => true,
        });
        for host in hosts {
            self.step(time.start, Action::Mute(host, true));
            self.step(time.end, Action::Mute(host, false));
        }
    }

    /// A host, or an endpoint that nobody sends to, is new.
    fn grow(&mut self, at: u64, vpc: usize) {
        let late = self.scenario.hosts.iter().position(|host| !host.present);
        match late.filter(|_| self.random.chance(50)) {
            Some(host) => self.step(at, Action::Join(host)),
            None => {
                let number = ADDRESSES + self.random.below(ADDRESSES as u64) as usize;
                let host = self.present();
                // Refused if its address is taken.
                self.step(at, Action::Put(EndpointId { vpc, number }, host));
            }
        }
    }

    fn endpoint_of(&self, vpc: usize, at: u64) -> EndpointId {
        let mut random = Random::new(self.scenario.seed, 1000 + at + self.steps.len() as u64);
        EndpointId { vpc, number: random.below(2 * ADDRESSES as u64) as usize }
    }

    fn some_hosts(&mut self) -> Vec<HostId> {
        let count = self.random.below(4);
        let mut hosts: Vec<_> = (0..count).map(|_| self.present()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    fn any(&mut self) -> HostId {
        self.random.below(self.scenario.hosts.len() as u64) as usize
    }

    fn present(&mut self) -> HostId {
        self.random.below(self.homes() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_survives_being_printed_and_read() {
        for seed in 0..300 {
            let scenario = Scenario::generate(seed);
            let again = scenario.clone().with_script(&scenario.to_string()).unwrap();
            assert_eq!(again, scenario);
        }
    }

    #[test]
    fn a_line_that_is_no_step_is_named() {
        let scenario = Scenario::generate(1);
        let error =
            scenario.clone().with_script("at 5 loss 3\nat 6 put v0 e1 nowhere").unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("line 2") && text.contains("nowhere"), "{text}");
        assert!(scenario.with_script("at 5 reset h99").is_err());
    }
}
