//! Questions to hosts, which their agents answer on their streams.

use super::Core;
use crate::access;
use crate::engine::{Asked, AskedHost, LookAt, Refusal, RefusalKind, Said};
use mizar_identity::Identity;
use mizar_proto::{Answer, ControllerMessage, Look, Question};
use mizar_vpc::manifest::Kind;
use mizar_vpc::{Name, Ref};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// Questions that nobody has answered yet.
#[derive(Debug, Default)]
pub(super) struct Questions {
    last: u64,
    waiting: BTreeMap<u64, (Name, oneshot::Sender<Said>)>,
}

impl Core {
    /// Asks hosts which rows decide what becomes of packets between some addresses.
    ///
    /// # Errors
    /// The VPC does not exist, or it is not for those who ask.
    pub(crate) fn look(&mut self, who: &Identity, at: &LookAt) -> Result<Asked, Refusal> {
        access::check_looking(who)?;
        let vpc = self.catalog.vpc_named(&at.vpc).ok_or_else(|| {
            let vpc = Ref::global(Kind::Vpc, at.vpc.clone());
            Refusal::new(RefusalKind::NotFound, format!("there is no {vpc}"))
        })?;
        let vni = vpc.record().vni;
        let endpoint = |address: &_| {
            let endpoint = vpc.endpoint_at(*address)?;
            Some((*address, (endpoint.name.clone(), endpoint.host.clone())))
        };
        let endpoints = at.addresses.iter().filter_map(endpoint).collect();
        let named = |underlay: &_| Some((*underlay, self.catalog.host_at(*underlay)?.clone()));
        let hosts: Vec<_> = at.hosts.iter().filter_map(named).collect();
        // Whoever had asked may have gone.
        self.questions.waiting.retain(|_, (_, reply)| !reply.is_closed());
        let (addresses, underlays) = (at.addresses.clone(), at.hosts.clone());
        let look = Look { vni, addresses, hosts: underlays };
        let hosts = hosts.into_iter().map(|(underlay, name)| {
            let said = self.ask(&name, look.clone());
            AskedHost { name, underlay, said }
        });
        Ok(Asked { vni, endpoints, hosts: hosts.collect() })
    }

    fn ask(&mut self, host: &Name, look: Look) -> Result<oneshot::Receiver<Said>, &'static str> {
        let outlet = self.outgoing.get(host).ok_or("its agent has no stream to the controller")?;
        if !outlet.has_room() {
            return Err("it is being told much at the moment: ask again");
        }
        self.questions.last += 1;
        let number = self.questions.last;
        outlet.send(ControllerMessage::Question(Question { number, look }));
        let (reply, said) = oneshot::channel();
        self.questions.waiting.insert(number, (host.clone(), reply));
        Ok(said)
    }

    /// A host's stream has ended: it answers nothing any more.
    pub(super) fn forget_questions(&mut self, host: &Name) {
        self.questions.waiting.retain(|_, (asked, _)| asked != host);
    }

    /// A host has answered. Another one's question is not his to answer.
    pub(super) fn answered(&mut self, host: &Name, answer: Answer) {
        let Answer { number, outcome } = answer;
        let of_host = |(asked, _): &(Name, _)| asked == host;
        if !self.questions.waiting.get(&number).is_some_and(of_host) {
            return;
        }
        let Some((_, reply)) = self.questions.waiting.remove(&number) else { return };
        let hosts = outcome.iter().flat_map(|looked| &looked.hosts);
        let named = |underlay: &_| Some((*underlay, self.catalog.host_at(*underlay)?.clone()));
        let names = hosts.filter_map(named).collect();
        // Who has gone meanwhile does not want to know.
        let _ = reply.send(Said { outcome, names });
    }
}
