use super::*;
use HolderState::{Active, Doubtful, Draining, Filling, Leaving};
use proptest::collection::vec;
use proptest::prelude::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn known(name: &str, since: u64) -> Known {
    Known { name: name.parse().unwrap(), since }
}

/// Maps in every state that the checks let through.
fn map() -> impl Strategy<Value = SlotMap> {
    let slot = vec((any::<prop::sample::Index>(), 0..5usize), 1..=6);
    (1..u64::MAX, 2..80u16, vec(slot, 256)).prop_filter_map("no map", |(epoch, count, slots)| {
        let hosts = (0..count).map(|i| known(&format!("host-{i:03}"), epoch - epoch % 3)).collect();
        let slots = slots.into_iter().map(|keepers| {
            let mut slot = Vec::<Keeper>::new();
            for (index, state) in keepers {
                let host = index.index(count.into()) as u16;
                let state = if slot.is_empty() { Active } else { HolderState::ALL[state] };
                let told = slot.iter().filter(|keeper| keeper.state.is_told()).count();
                let fits = !state.is_told() || told < REPLICAS;
                if fits && slot.iter().all(|keeper| keeper.host != host) {
                    slot.push(Keeper { host, state });
                }
            }
            slot
        });
        let map = SlotMap { epoch, size: count, hosts, slots: slots.collect() };
        map.check().is_ok().then_some(map)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_map_survives_being_stored_in_either_form(map in map()) {
        prop_assert_eq!(SlotMap::from_bytes(&map.to_bytes()).unwrap(), map.clone());
        let text = serde_json::to_string(&map).unwrap();
        prop_assert_eq!(serde_json::from_str::<SlotMap>(&text).unwrap(), map);
    }

    #[test]
    fn damaged_bytes_are_refused_or_make_a_legal_map(
        map in map(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index
    ) {
        let mut bytes = map.to_bytes();
        prop_assert!(SlotMap::from_bytes(&bytes[..cut.index(bytes.len())]).is_err());
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(map) = SlotMap::from_bytes(&bytes) {
            prop_assert_eq!(map.check(), Ok(()));
        }
    }
}

#[test]
fn holders_keep_their_order() {
    let [a, b] = ["a", "b"].map(name);
    let map = SlotMap::new(3, &vec![vec![&b, &a]; 256]).unwrap();
    assert_eq!(map.hosts().collect::<Vec<_>>(), [&a, &b]);
    assert_eq!(map.holders(Slot::from(7)).collect::<Vec<_>>(), [&b, &a]);
}

#[test]
fn senders_are_told_of_those_who_answer_and_rows_go_to_all_who_keep_them() {
    let hosts = ["a", "b", "c", "d", "e", "f"].map(|text| known(text, 2)).to_vec();
    let states = [Filling, Active, Leaving, Draining, Doubtful];
    let keepers: Vec<_> = (0..).zip(states).map(|(host, state)| Keeper { host, state }).collect();
    let map = SlotMap::of(2, 2, hosts, vec![keepers; 256]);
    let text = |names: Vec<&Name>| names.into_iter().map(Name::as_str).collect::<String>();
    let slot = Slot::from(0);
    assert_eq!(text(map.holders(slot).collect()), "bce");
    assert_eq!(text(map.keepers(slot).collect()), "abcde");
    assert_eq!(text(map.hosts().collect()), "abcde");
    assert_eq!(text(map.former().collect()), "f");
    assert_eq!(map.tally()[&name("c")], [0, 0, 256, 0, 0]);
    let told = map
        .by_address(|name| Ok::<_, ()>(IpAddr::from([10, 0, 0, name.as_str().as_bytes()[0]])))
        .unwrap();
    assert_eq!(told.check(), Ok(()));
    assert_eq!(told.hosts.len(), 3);
    assert_eq!(told.holders(slot).last(), Some(IpAddr::from([10, 0, 0, b'e'])));
}

#[test]
fn a_map_of_two_replicas_has_one_and_a_half_kilobytes_at_most() {
    for count in [2, 16, 64] {
        let hosts: Vec<_> = (0..count).map(|i| name(&format!("host-{i:03}"))).collect();
        let slot = |i: usize| vec![&hosts[i % count], &hosts[(i + 1) % count]];
        let map = SlotMap::new(u64::MAX, &(0..256).map(slot).collect::<Vec<_>>()).unwrap();
        assert!(map.to_bytes().len() <= 1536, "{count}: {}", map.to_bytes().len());
    }
}

#[test]
fn bytes_that_are_no_map_say_what_is_wrong() {
    let a = name("a");
    let bytes = SlotMap::new(1, &vec![vec![&a]; 256]).unwrap().to_bytes();
    assert_eq!(bytes[..8], [1, 1, 1, 1, 1, b'a', 0, 1], "the layout of version 1 never changes");
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        SlotMap::from_bytes(&bytes).unwrap_err().to_string()
    };
    assert_eq!(
        refused(&|bytes| bytes[0] = 2),
        "a slot map of version 2: version 1 is what this program reads"
    );
    assert_eq!(refused(&|bytes| bytes.push(0)), "1 bytes follow the slot map: there must be none");
    assert!(refused(&|bytes| bytes.truncate(9)).starts_with("the slot map ends after 9 bytes"));
    assert!(refused(&|bytes| bytes[5] = b'_').starts_with("name \"_\" is no DNS label"));
    assert!(refused(&|bytes| bytes[7] = 5).starts_with("slot 0 is held by host number 1"));
}

#[test]
fn malformed_maps_are_refused() {
    let slots = |holders: &[u16]| vec![holders.to_vec(); 256];
    let check = |slots: &[Vec<u16>]| check_slots(&["a", "b"], slots).unwrap_err();
    assert_eq!(check(&slots(&[0])[1..]), SlotMapError::Slots(255));
    assert_eq!(check(&slots(&[])), SlotMapError::Holders { slot: 0, holders: 0 });
    assert_eq!(check(&slots(&[0, 1, 0, 1, 0])), SlotMapError::Holders { slot: 0, holders: 5 });
    assert_eq!(check(&slots(&[2])), SlotMapError::UnknownHost { slot: 0, host: 2, hosts: 2 });
    assert_eq!(check(&slots(&[1, 1])), SlotMapError::Twice { slot: 0, host: 1 });
    assert_eq!(check(&slots(&[0])), SlotMapError::Host(1));
    assert_eq!(check_slots(&["a", "a"], &slots(&[0, 1])), Err(SlotMapError::Host(1)));
    let of = |hosts: [&str; 2], since, state| {
        let hosts = hosts.map(|text| known(text, since)).to_vec();
        SlotMap { epoch: 1, size: 1, hosts, slots: vec![vec![Keeper { host: 0, state }]; 256] }
    };
    assert_eq!(of(["b", "a"], 1, Active).check(), Err(SlotMapError::Order(1)));
    let since = SlotMapError::Since { host: 0, since: 2, epoch: 1 };
    assert_eq!(of(["a", "b"], 2, Active).check(), Err(since));
    let nobody = SlotMapError::Holders { slot: 0, holders: 0 };
    assert_eq!(of(["a", "b"], 1, Filling).check(), Err(nobody));
}
