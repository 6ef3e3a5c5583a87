//! Whatever is sent arrives as it was, through the bytes on the wire.

use mizar_proto::*;
use mizar_vpc::{
    Batch, Digest, Generation, HostConfig, Mac, Name, NetworkId, RowKey, Vni, VpcUpdate,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

/// Sends `value` as a message `M`: encodes, decodes, and reads it.
fn arrive<M, T>(value: &T) -> T
where
    M: Message + Default + From<T>,
    T: TryFrom<M> + Clone,
    T::Error: Debug,
{
    let bytes = M::from(value.clone()).encode_to_vec();
    let message = M::decode(&bytes[..]).expect("what was encoded is decoded");
    T::try_from(message).expect("what was sent is accepted")
}

proptest! {
    #[test]
    fn updates_arrive_in_every_batch(update: VpcUpdate, max_rows in 1..20usize) {
        for batch in update.batches(max_rows) {
            prop_assert_eq!(&arrive::<pb::Update, _>(&batch), &batch);
        }
    }

    #[test]
    fn controller_messages_arrive(message in controller_message()) {
        prop_assert_eq!(&arrive::<pb::ControllerMessage, _>(&message), &message);
    }

    #[test]
    fn agent_messages_arrive(message in agent_message()) {
        prop_assert_eq!(&arrive::<pb::AgentMessage, _>(&message), &message);
    }

    #[test]
    fn reports_arrive(status in status(), counters in counters(), looked in looked()) {
        prop_assert_eq!(&arrive::<pb::StatusResponse, _>(&status), &status);
        prop_assert_eq!(&arrive::<pb::CountersResponse, _>(&counters), &counters);
        prop_assert_eq!(&arrive::<pb::Looked, _>(&looked), &looked);
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = pb::ControllerMessage::decode(&bytes[..]).map(ControllerMessage::try_from);
        let _ = pb::AgentMessage::decode(&bytes[..]).map(AgentMessage::try_from);
        let _ = pb::StatusResponse::decode(&bytes[..]).map(Status::try_from);
    }

    #[test]
    fn no_changed_byte_makes_reading_panic(
        batch in any::<VpcUpdate>().prop_map(first_batch),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = pb::Update::from(batch).encode_to_vec();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let _ = pb::Update::decode(&bytes[..]).map(Batch::try_from);
    }
}

fn first_batch(update: VpcUpdate) -> Batch {
    update.batches(8).swap_remove(0)
}

fn controller_message() -> impl Strategy<Value = ControllerMessage> {
    prop_oneof![
        any::<HostConfig>().prop_map(ControllerMessage::Config),
        any::<VpcUpdate>().prop_map(|update| ControllerMessage::Update(first_batch(update))),
        Just(ControllerMessage::Complete),
        question().prop_map(ControllerMessage::Question),
    ]
}

fn agent_message() -> impl Strategy<Value = AgentMessage> {
    let position = (any::<Generation>(), option::of(1..u64::MAX))
        .prop_map(|(generation, digest)| Position { generation, digest: digest.map(Digest::from) });
    let positions = btree_map(any::<Vni>(), position, 0..5);
    let hello = (any::<Name>(), 1..5u32, underlay(), 0..3u32, positions).prop_map(
        |(host, protocol, underlay, tags, positions)| Hello {
            host,
            protocol,
            version: "0.1.0".to_owned(),
            underlay: Some(underlay.into()),
            tags,
            positions,
        },
    );
    let row = prop_oneof![
        any::<NetworkId>().prop_map(RowKey::Network),
        any::<Name>().prop_map(RowKey::Port),
        any::<Ipv4Addr>().prop_map(|v4| RowKey::Held(v4.into())),
    ];
    let error = (row, "[^\\p{Cc}]{1,20}").prop_map(|(row, reason)| RowError { row, reason });
    let outcome = prop_oneof![
        applied(vec(error, 0..4)).prop_map(Outcome::Applied),
        "[^\\p{Cc}]{1,20}".prop_map(Outcome::Refused),
    ];
    let ack = (any::<Vni>(), any::<Generation>(), outcome)
        .prop_map(|(vni, generation, outcome)| Ack { vni, generation, outcome });
    prop_oneof![
        hello.prop_map(AgentMessage::Hello),
        ack.prop_map(AgentMessage::Ack),
        beat().prop_map(AgentMessage::Beat),
        answer().prop_map(AgentMessage::Answer),
    ]
}

fn applied(errors: impl Strategy<Value = Vec<RowError>>) -> impl Strategy<Value = Applied> {
    let port = (any::<Name>(), steps(), time()).prop_map(|(name, steps, total)| PortReport {
        name,
        steps,
        total,
    });
    (errors, vec(port, 0..4), time(), time(), any::<bool>()).prop_map(
        |(errors, ports, held, total, prepared)| Applied { prepared, errors, ports, held, total },
    )
}

fn steps() -> impl Strategy<Value = Steps> {
    btree_map(prop::sample::select(&Step::ALL[..]), time(), 0..5)
}

fn time() -> impl Strategy<Value = Duration> {
    any::<u32>().prop_map(|us| Duration::from_micros(us.into()))
}

fn beat() -> impl Strategy<Value = Beat> {
    let usage = || any::<[u32; 2]>().prop_map(|[used, capacity]| Usage { used, capacity });
    let load = any::<[u64; 2]>().prop_map(|[bounced, divided]| Load { bounced, divided });
    let vpcs = btree_map(any::<Vni>(), load, 0..6);
    let waits_for = option::of("[a-z]{1,20}");
    (usage(), usage(), usage(), usage(), vpcs, waits_for).prop_map(
        |(endpoints, learned, ports, hosts, vpcs, waits_for)| Beat {
            endpoints,
            learned,
            ports,
            hosts,
            vpcs,
            waits_for,
        },
    )
}

fn underlay() -> impl Strategy<Value = Ipv4Addr> {
    let address = (1..224u8, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| [a, b, c, d].into());
    address.prop_filter("loopback", |address: &Ipv4Addr| !address.is_loopback())
}

fn status() -> impl Strategy<Value = Status> {
    let mode = prop_oneof![Just(NicMode::Native), Just(NicMode::Generic), Just(NicMode::Tc)];
    let config = option::of(any::<HostConfig>());
    let positions = btree_map(any::<Vni>(), any::<Generation>(), 0..4);
    let lists = (vec(port(), 0..4), vec(host(), 0..4));
    let numbers = (any::<u32>(), any::<u32>(), any::<bool>());
    (any::<Name>(), numbers, mode, config, positions, lists).prop_map(
        |(host, (layout, since, connected), nic_mode, config, positions, (ports, hosts))| Status {
            host,
            version: "0.1.0".to_owned(),
            layout,
            nic: "eth0".to_owned(),
            nic_mode,
            nic_mode_reason: "as told".to_owned(),
            waits_for: connected.then(|| "the controller".to_owned()),
            since: SystemTime::UNIX_EPOCH + Duration::from_millis(since.into()),
            config,
            connected,
            positions,
            ports,
            hosts,
        },
    )
}

fn port() -> impl Strategy<Value = PortStatus> {
    let state = prop_oneof![
        Just(PortState::Attaching),
        Just(PortState::Ready),
        "[^\\p{Cc}]{1,20}".prop_map(PortState::Failed),
    ];
    let identity = (any::<Vni>(), any::<Name>(), option::of("[a-z]{1,15}"));
    let addresses = (any::<Mac>(), option::of(any::<Ipv4Addr>()), option::of(plain_v6()));
    (identity, addresses, any::<Generation>(), state, steps()).prop_map(
        |((vni, name, interface), (mac, v4, v6), generation, state, steps)| PortStatus {
            vni,
            name,
            interface,
            mac,
            v4,
            v6,
            generation,
            state,
            steps,
        },
    )
}

fn plain_v6() -> impl Strategy<Value = Ipv6Addr> {
    any::<Ipv6Addr>().prop_filter("mapped", |v6| v6.to_ipv4_mapped().is_none())
}

fn host() -> impl Strategy<Value = HostStatus> {
    (underlay(), option::of(any::<Mac>()), any::<bool>(), any::<u16>()).prop_map(
        |(underlay, next_hop, alive, mtu)| HostStatus {
            underlay: underlay.into(),
            next_hop,
            alive,
            mtu,
        },
    )
}

fn counters() -> impl Strategy<Value = Counters> {
    let packets = || btree_map("[a-z_]{1,10}", any::<u64>(), 1..5);
    (btree_map(any::<Vni>(), packets(), 0..4), packets())
        .prop_map(|(vpcs, unknown)| Counters { vpcs, unknown })
}

fn question() -> impl Strategy<Value = Question> {
    let addresses = vec(underlay().prop_map(Into::into), 1..=Look::ADDRESSES);
    let hosts = vec(underlay().prop_map(Into::into), 0..4);
    (any::<u64>(), any::<Vni>(), addresses, hosts).prop_map(|(number, vni, addresses, hosts)| {
        Question { number, look: Look { vni, addresses, hosts } }
    })
}

fn answer() -> impl Strategy<Value = Answer> {
    let outcome = prop_oneof![looked().prop_map(Ok), "[^\\p{Cc}]{1,20}".prop_map(Err)];
    (any::<u64>(), outcome).prop_map(|(number, outcome)| Answer { number, outcome })
}

fn looked() -> impl Strategy<Value = Looked> {
    let bytes = || vec(any::<u8>(), 0..40);
    let tables = btree_map("[A-Z]{1,10}", vec((bytes(), bytes()), 0..10), 0..4);
    let hosts = vec(underlay().prop_map(Into::into), 0..4);
    (any::<u32>(), any::<u64>(), tables, hosts).prop_map(|(layout, now, tables, hosts)| Looked {
        layout,
        now,
        tables,
        hosts,
    })
}
