//! The agents' streams: who has come, what they acknowledge, who has gone.

use super::Core;
use super::outlet::{Messages, outlet};
use crate::cursor::Cursor;
use crate::desk::{Keys, Move, Moves, SessionId};
use crate::time::Time;
use mizar_proto::{Ack, AgentMessage, Beat, ControllerMessage, Hello, Outcome, PROTOCOL};
use mizar_vpc::{Digest, Name, RowKey, Standing, View, Vni};
use std::collections::BTreeSet;
use tracing::{error, info, warn};

/// Rows of which watchers are told before other work is done.
const FOLLOWED: usize = 64;

/// A stream that was accepted.
#[derive(Debug)]
pub struct Opened {
    /// Names the stream in what comes of it.
    pub session: SessionId,
    /// What the host is to be told.
    pub messages: Messages,
}

impl Core {
    /// A host opens a stream and says where it stands.
    ///
    /// # Errors
    /// Why it is turned away, for its log.
    pub fn open(&mut self, hello: &Hello, now: Time) -> Result<Opened, String> {
        let Hello { host, protocol, .. } = hello;
        if *protocol != PROTOCOL {
            return Err(format!("protocol {protocol}: this controller speaks {PROTOCOL}"));
        }
        let config = self.config(host).ok_or_else(|| {
            format!("host {host} is not in the fleet: create it, or start the agent with its name")
        })?;
        if let Some(underlay) = hello.underlay.filter(|underlay| *underlay != config.underlay) {
            return Err(format!(
                "host {host} has the underlay address {}, and the agent says {underlay}: correct \
                 either",
                config.underlay
            ));
        }
        self.check_positions(hello)?;
        let told = self.vpcs_of(host);
        let was_silent = !self.is_alive(host, now);
        self.forget_sendings(host);
        let view = View { catalog: &self.catalog, maps: &self.maps };
        let digest_of = |vni| {
            let keys = Digest::of_keys(self.keys.of_vpc(vni).as_ref());
            Some(self.digests.digest(view, vni, host)? + keys)
        };
        let (session, known, moves) = self.desk.open(hello, &told, digest_of, now);
        let (outlet, messages) = outlet();
        outlet.send(ControllerMessage::Config(config));
        self.outgoing.insert(host.clone(), outlet);
        info!(%host, version = hello.version, positions = hello.positions.len(), "agent connected");
        self.set_alive(host);
        let vnis: BTreeSet<_> =
            self.desk.host(host).into_iter().flat_map(|it| it.vpcs.keys()).copied().collect();
        self.unsent.extend(vnis.iter().map(|vni| (host.clone(), *vni)));
        if let Some(outlet) = self.outgoing.get_mut(host) {
            outlet.begin(vnis);
        }
        self.resume(moves);
        self.planner.look_at_moving();
        // What it still has from before is acknowledged by its coming.
        for vni in known {
            self.follow_all(host, vni, now);
            self.divider_heard(host, vni, now);
        }
        if was_silent {
            self.follow_standing(host, now);
        }
        self.tell_host(host, now);
        Ok(Opened { session, messages })
    }

    /// Refuses a host that was told more than the store knows: what it is told next would not come
    /// after that. It is a matter of that host alone, which may say anything.
    fn check_positions(&self, hello: &Hello) -> Result<(), String> {
        let positions = hello.positions.iter().map(|(vni, position)| (position.generation, vni));
        let Some((at, vni)) = positions.max().filter(|(at, _)| *at > self.generation) else {
            return Ok(());
        };
        let (host, present, epoch) = (&hello.host, self.generation, at.epoch());
        error!(%host, %vni, %at, %present, "a host was told more than this store knows");
        Err(format!(
            "host {host} stands at generation {at} of VNI {vni}, and this controller's store at \
             {present}. If that is an earlier state of the store, stop the controller, and have \
             it begin a new epoch: `mizar controller restore FILE --replace --above {epoch}`. If \
             another controller told the host, run `mizar agent remove` there"
        ))
    }

    /// Something came on a stream.
    ///
    /// # Errors
    /// Why the stream has to end.
    pub fn hear(
        &mut self,
        host: &Name,
        session: SessionId,
        message: AgentMessage,
        now: Time,
    ) -> Result<(), String> {
        if !self.desk.hear(host, session, now) {
            return Err(format!("host {host} has opened another stream"));
        }
        match message {
            AgentMessage::Hello(_) => return Err("hello comes once".to_owned()),
            AgentMessage::Beat(beat) => self.beat(host, &beat, now),
            AgentMessage::Ack(ack) => self.acknowledge(host, ack, now),
            AgentMessage::Answer(answer) => self.answered(host, answer),
        }
        if let Some(standing) = self.planner.standing(host).filter(|it| *it != Standing::Alive) {
            self.set_alive(host);
            if !standing.is_alive() {
                self.follow_standing(host, now);
                self.tell_host(host, now);
            }
        }
        Ok(())
    }

    /// A stream has ended.
    pub fn close(&mut self, host: &Name, session: SessionId, now: Time) {
        let Some(moves) = self.desk.close(host, session) else { return };
        info!(%host, "agent gone");
        self.outgoing.remove(host);
        self.forget_questions(host);
        self.forget_sendings(host);
        self.resume(moves);
        self.tell_host(host, now);
    }

    /// Who waited for a host before he was told of a move waits no longer.
    fn resume(&mut self, moves: Moves) {
        for ((vni, name), how) in moves {
            let Some(endpoint) = self.endpoint(vni, &name) else { continue };
            let mut hosts = vec![endpoint.host.clone()];
            if let Move::Arrives { from, .. } = how {
                hosts.push(from);
                if let Some(map) = self.view().map(vni, endpoint.network) {
                    hosts.extend(endpoint.slots().flat_map(|slot| map.keepers(slot)).cloned());
                }
            }
            self.unsent.extend(hosts.into_iter().map(|host| (host, vni)));
        }
    }

    fn acknowledge(&mut self, host: &Name, ack: Ack, now: Time) {
        let Ack { vni, generation, outcome } = ack;
        match outcome {
            Outcome::Refused(reason) => {
                warn!(%host, %vni, %generation, reason, "update refused");
                self.metrics.answered(false);
                if self.desk.refuse(host, (vni, generation), reason) {
                    let place = (host.clone(), vni);
                    self.sendings.remove(&place);
                    self.gate.leave(&place);
                }
            }
            // It is taken, and counts only when it is at work: others need not wait for that.
            Outcome::Applied(applied) if applied.prepared => {
                return self.gate.leave(&(host.clone(), vni));
            }
            Outcome::Applied(applied) => {
                self.metrics.answered(true);
                for report in &applied.ports {
                    self.timings.attached(vni, report);
                }
                let state = self.desk.host(host).and_then(|state| state.vpcs.get(&vni));
                let mended: BTreeSet<_> =
                    state.into_iter().flat_map(|it| it.errors.keys().cloned()).collect();
                let mut moves = self.desk.moving(host, vni);
                let keys = self.desk.acknowledge(host, (vni, generation), &applied);
                if keys.is_some() && !self.view().is_told(vni, host) {
                    self.desk.drop_vpc(host, vni);
                }
                if keys == Some(Keys::All) {
                    self.gate.leave(&(host.clone(), vni));
                }
                let failed = applied.errors.iter().map(|error| error.row.clone());
                let keys = match keys {
                    Some(Keys::Some(keys)) => keys,
                    Some(Keys::All) => {
                        let (keys, all) = self.awaited(host, vni);
                        if !all {
                            self.follow_all(host, vni, now);
                        }
                        keys
                    }
                    None => BTreeSet::new(),
                };
                let keys: BTreeSet<_> = keys.into_iter().chain(failed).chain(mended).collect();
                self.follow_keys(vni, &keys, now);
                self.divider_heard(host, vni, now);
                moves.retain(|(place, _)| !self.desk.is_moving(place));
                self.resume(moves);
            }
        }
        self.planner.look_at_moving_of(vni);
        self.unsent.insert((host.clone(), vni));
    }

    /// The endpoints of a VPC that may have waited for a host, among those that are not ready, and
    /// whether these are all that it can matter to. Many hosts are told of a VPC for the first time
    /// as it is filled: each looks at its own alone.
    fn awaited(&self, host: &Name, vni: Vni) -> (BTreeSet<RowKey>, bool) {
        let Some(vpc) = self.catalog.vpc(vni) else { return (BTreeSet::new(), true) };
        let keeps = self.maps.get(&vni).is_some_and(|maps| {
            maps.networks.values().any(|map| map.hosts().chain(map.former()).any(|it| it == host))
        });
        if keeps {
            let keys = self.timings.awaited(vni);
            let all = keys.len() as u64 == vpc.endpoint_count();
            return (keys, all);
        }
        let ids = self.catalog.host(host).into_iter().flat_map(|it| it.endpoints(vni));
        let names = ids.filter_map(|id| vpc.endpoint(id)).map(|it| &it.name);
        let (waiting, others): (Vec<_>, Vec<_>) =
            names.partition(|name| self.timings.is_awaited(vni, name));
        let keys = waiting.into_iter().map(|name| RowKey::Port(name.clone())).collect();
        (keys, others.is_empty())
    }

    /// Watchers have to hear of all rows of a host in a VPC, little by little. Without watchers it
    /// is nobody's business: a status is derived when it is asked for.
    pub(super) fn follow_all(&mut self, host: &Name, vni: Vni, now: Time) {
        if self.watchers.is_anybody_interested(now) {
            let cursor = Cursor::all(self.view(), vni, host);
            self.follows.insert((host.clone(), vni), cursor);
        } else {
            self.watchers.skip();
        }
    }

    /// A host is counted on again, or no longer: watchers have to hear of all that depends on it.
    pub(super) fn follow_standing(&mut self, host: &Name, now: Time) {
        for vni in self.vpcs_of(host) {
            self.follow_all(host, vni, now);
            if self.dividers(vni).contains(host) {
                self.look_at_young(vni, now);
            }
        }
    }

    /// Tells watchers of some more rows.
    pub(super) fn follow_some(&mut self, now: Time) {
        self.follow_routes(now);
        let Some((place, mut cursor)) = self.follows.pop_first() else { return };
        if !self.watchers.is_anybody_interested(now) {
            self.watchers.skip();
            return self.follows.clear();
        }
        let keys = cursor.take(self.view(), place.1, FOLLOWED).into_iter().collect();
        self.follow_keys(place.1, &keys, now);
        if !cursor.is_empty() {
            self.follows.insert(place, cursor);
        }
    }

    /// Rows have come to a host: endpoints may have become ready.
    fn follow_keys(&mut self, vni: Vni, keys: &BTreeSet<RowKey>, now: Time) {
        for key in keys {
            let Some(vpc) = self.catalog.vpc(vni) else { return };
            let endpoint = match key {
                RowKey::Port(name) => vpc.endpoint_named(name).map(|(_, it)| it),
                RowKey::Held(address) => vpc.endpoint_at(*address),
                RowKey::Network(_) => None,
            };
            if let Some(name) = endpoint.map(|it| it.name.clone()) {
                self.progress_of(vni, &name, now);
            }
        }
    }

    fn beat(&mut self, host: &Name, beat: &Beat, now: Time) {
        let changed = self.loads.take(host, beat, now);
        self.look_at_loads(changed);
        if self.desk.wait(host, beat.waits_for.as_deref(), now) {
            self.tell_host(host, now);
        }
    }

    fn set_alive(&mut self, host: &Name) {
        let Some(record) = self.catalog.host(host).map(|host| host.record().clone()) else {
            return;
        };
        if self.planner.set_host(&record, Standing::Alive) {
            self.planner.all_due(&self.catalog);
        }
    }

    /// The VPCs that a host has a part in.
    pub(super) fn vpcs_of(&self, host: &Name) -> BTreeSet<Vni> {
        let lives = self.catalog.host(host).into_iter().flat_map(|host| host.vpcs());
        lives.chain(self.roles.vpcs(host)).collect()
    }
}
