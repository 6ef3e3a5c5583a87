//! Keys: what this host says is signed with them, and nobody is shown them.

use crate::world::{self, FakeController, Guest, HERE, at, port, rows};
use mizar_agent::kernel::Maps;
use mizar_packet::Address;
use mizar_packet::keys::Keys;
use mizar_packet::tables::EndpointKey;
use mizar_proto::{ControllerMessage, Look};
use mizar_vpc::{HostConfig, TagKey, TagKeys, Vni, VpcUpdate};

/// Keys of an epoch: all bytes of a key are the same.
fn keys(epoch: u64, required: bool) -> TagKeys {
    let key = |epoch: u64| TagKey::new([0xa0 + epoch as u8; 16]);
    let [before, present, after] = [key(epoch - 1), key(epoch), key(epoch + 1)];
    TagKeys { epoch, before, present, after, required }
}

#[test]
fn locations_are_signed_with_the_keys_that_the_controller_tells() {
    world::enter("keys::locations_are_signed_with_the_keys_that_the_controller_tells", || async {
        let (mut controller, _serving) = FakeController::listen();
        let agent = world::start(world::options());
        let mut stream = controller.stream().await;
        let config = HostConfig {
            name: "h1".parse().unwrap(),
            underlay: HERE,
            fleet: vec!["100.64.0.0/10".parse().unwrap()],
            keys: Some(keys(7, true)),
        };
        stream.say(ControllerMessage::Config(config)).await;
        let guest = Guest::new();
        let unsigned = rows(&[("a", port(&guest.namespace(), 5, at(2)))]);
        let with = |keys| mizar_vpc::VpcRows { keys, ..unsigned.clone() };
        let states = [Some(keys(3, false)), Some(keys(4, true)), None, Some(keys(5, true))];
        let maps = Maps::open(&world::options().pins).unwrap();
        let mut interface = None;
        for (state, generation) in states.into_iter().zip(2..) {
            let update = match interface {
                None => VpcUpdate::full(Vni::MIN, at(generation), with(state)),
                Some(_) => {
                    // Nothing but the keys is another.
                    let base =
                        VpcUpdate::change(Vni::MIN, at(generation), Some(at(generation - 1)));
                    let frame = with(state);
                    let (dividers, quota) = (frame.dividers, frame.quota);
                    VpcUpdate { dividers, quota, keys: state, ..base }
                }
            };
            world::all_applied(&stream.update(update).await);
            let told = state.map_or(Keys::NONE, Keys::from);
            assert_eq!(maps.vpcs.get(&1).unwrap().unwrap().keys, told);
            let row = maps.ports.rows().unwrap()[0];
            assert_eq!(*interface.get_or_insert(row.interface), row.interface);
            let std::net::IpAddr::V4(here) = HERE else { unreachable!() };
            for (address, tag) in [(Address::v4(row.v4), row.v4_tag), (row.v6, row.v6_tag)] {
                let key = EndpointKey::new(1, address);
                assert_eq!(tag, told.sign_location(&key, here.octets(), row.generation));
                assert_eq!(tag == [0; 8], state.is_none());
            }
        }
        let fleet = maps.config.get(&0).unwrap().unwrap().keys;
        assert_eq!(fleet, Keys::from(keys(7, true)));

        // Whoever asks the agent sees all but keys.
        assert_eq!(world::status("h1").await.config.unwrap().keys, None);
        let port = maps.ports.rows().unwrap()[0];
        let addresses = vec![Address::v4(port.v4).into(), port.v6.into()];
        let look = Look { vni: Vni::MIN, addresses, hosts: Vec::new() };
        let looked = maps.look(&look, 0).unwrap();
        assert!(["CONFIG", "PORTS", "VPCS"].map(|it| looked.tables.contains_key(it)) == [true; 3]);
        for (name, rows) in looked.tables {
            let rows: Vec<u8> = rows.into_iter().flat_map(|(_, row)| row).collect();
            let shown = |byte| rows.windows(16).any(|bytes| bytes == [byte; 16]);
            assert!(!(0xa0..0xaf).any(shown), "{name}");
        }

        // An agent that has been told nothing yet goes on with them.
        world::kill(agent).await;
        let agent = world::start(world::options());
        let _stream = controller.stream().await;
        assert_eq!(maps.config.get(&0).unwrap().unwrap().keys, fleet);
        let kept = maps.vpcs.get(&1).unwrap().unwrap().keys;
        assert_eq!(kept, Keys::from(keys(5, true)));
        world::kill(agent).await;
    });
}
